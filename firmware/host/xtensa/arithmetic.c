/* arithmetic.c - what LLVM expects of a runtime library for Xtensa: division of 64-bit integers and of
 * floats. */
#include <stdint.h>
#include <string.h>

float __divsf3(float dividend, float divisor);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);

/* Bit by bit: only the harness divides, to print numbers. */
static uint64_t divide(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
    uint64_t quotient = 0;
    *remainder = 0;
    for (int bit = 63; bit >= 0; bit--) {
        *remainder = (*remainder << 1) | ((dividend >> bit) & 1u);
        quotient <<= 1;
        if (*remainder >= divisor) {
            *remainder -= divisor;
            quotient |= 1u;
        }
    }
    return quotient;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    return divide(dividend, divisor, &remainder);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    (void)divide(dividend, divisor, &remainder);
    return remainder;
}

enum { SIGNIFICAND_BITS = 23, BIAS = 127, INFINITE = 255, GUARD_BITS = 3 };
#define HIDDEN_BIT    ((uint32_t)1 << SIGNIFICAND_BITS)
#define INFINITY_BITS ((uint32_t)INFINITE << SIGNIFICAND_BITS)
#define NAN_BITS      (INFINITY_BITS | HIDDEN_BIT >> 1)

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The significand of a finite number above 0, with its leading bit in place; subnormal ones are shifted up to
 * it. */
static uint32_t significand_of(uint32_t magnitude, int32_t *exponent) {
    uint32_t significand = magnitude & (HIDDEN_BIT - 1u);
    *exponent = (int32_t)(magnitude >> SIGNIFICAND_BITS);
    if (*exponent != 0) {
        return significand | HIDDEN_BIT;
    }
    for (*exponent = 1; significand < HIDDEN_BIT; --*exponent) {
        significand <<= 1;
    }
    return significand;
}

/* IEEE 754 single precision, to nearest, ties to even: a model's border divides floats by its scale. */
float __divsf3(float dividend, float divisor) {
    const uint32_t sign = (bits_of(dividend) ^ bits_of(divisor)) & 0x80000000u;
    const uint32_t above = bits_of(dividend) & 0x7fffffffu, below = bits_of(divisor) & 0x7fffffffu;
    if (above > INFINITY_BITS || below > INFINITY_BITS ||
        (above == below && (above == 0 || above == INFINITY_BITS))) {
        return float_of(NAN_BITS);
    }
    if (above == INFINITY_BITS || below == 0) {
        return float_of(sign | INFINITY_BITS);
    }
    if (above == 0 || below == INFINITY_BITS) {
        return float_of(sign);
    }
    int32_t exponent, other;
    uint64_t numerator = significand_of(above, &exponent), rest;
    const uint32_t denominator = significand_of(below, &other);
    exponent += BIAS - other;
    if (numerator < denominator) {
        numerator <<= 1;
        exponent--;
    }
    uint64_t quotient = divide(numerator << (SIGNIFICAND_BITS + GUARD_BITS), denominator, &rest);
    for (quotient |= rest != 0; exponent < 1;
         exponent++) { /* subnormal: what is shifted out is remembered in bit 0 */
        quotient = quotient >> 1 | (quotient & 1u);
    }
    const uint32_t guard = quotient & ((1u << GUARD_BITS) - 1u), half = 1u << (GUARD_BITS - 1);
    uint32_t rounded = (uint32_t)(quotient >> GUARD_BITS);
    rounded += guard > half || (guard == half && (rounded & 1u));
    if (exponent >= INFINITE) {
        return float_of(sign | INFINITY_BITS);
    }
    return float_of(sign |
                    (((uint32_t)(exponent - 1) << SIGNIFICAND_BITS) + rounded)); /* the leading bit adds 1 */
}
