/* string.h - the four functions of <string.h> that compilers call by themselves; see memory.c. */
#ifndef NANOU_RV32_STRING_H
#define NANOU_RV32_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size_bytes);
void *memmove(void *to, const void *from, size_t size_bytes);
void *memset(void *to, int value, size_t size_bytes);
int memcmp(const void *left, const void *right, size_t size_bytes);

#endif
