/* memory.c - memcpy and friends for images without a C library.
 *
 * Compiled with -fno-builtin: otherwise the compiler turns these loops into calls of themselves. Words where
 * both ends allow it, as the chips' own libraries do, so that copies do not dominate measurements.
 */
#include <stdint.h>
#include <string.h>

typedef uint32_t __attribute__((may_alias)) word_t;

static int word_aligned(const void *a, const void *b) {
    return (((uintptr_t)a | (uintptr_t)b) & 3u) == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size_bytes) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (word_aligned(out, in)) {
        for (; size_bytes >= 4; size_bytes -= 4, out += 4, in += 4) {
            *(word_t *)(void *)out = *(const word_t *)(const void *)in;
        }
    }
    while (size_bytes-- > 0) {
        *out++ = *in++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size_bytes) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)out - (uintptr_t)in >=
        size_bytes) { /* unsigned: also true where `to` lies before `from` */
        return memcpy(to, from, size_bytes);
    }
    while (size_bytes-- > 0) {
        out[size_bytes] = in[size_bytes];
    }
    return to;
}

void *memset(void *to, int value, size_t size_bytes) {
    uint8_t *out = to;
    const uint32_t word = (uint8_t)value * 0x01010101u;
    if (word_aligned(out, out)) {
        for (; size_bytes >= 4; size_bytes -= 4, out += 4) {
            *(word_t *)(void *)out = word;
        }
    }
    while (size_bytes-- > 0) {
        *out++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t size_bytes) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (size_t i = 0; i < size_bytes; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}
