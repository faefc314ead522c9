/* arithmetic.c - what LLVM expects of a runtime library for Xtensa: 64-bit multiplication and division. */
#include <stdint.h>

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
