/* text.h - puts a short line of text together without a C library. What does not fit is left out. */
#ifndef NANOU_TEXT_H
#define NANOU_TEXT_H

#include <stdint.h>

#define TEXT_BYTES 121u /* with the final zero: a line of the log */

/* Cleared to zeros is empty. */
typedef struct text {
    char characters[TEXT_BYTES];
    uint32_t count;
} text_t;

void text_add(text_t *text, const char *more);
void text_add_number(text_t *text, int32_t number);

/* `thousandths` as 12.3, rounded down to tenths. */
void text_add_tenths(text_t *text, uint32_t thousandths);

#endif
