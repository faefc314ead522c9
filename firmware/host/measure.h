/* measure.h - count instructions and stack on emulated boards; absent elsewhere.
 *
 * Where the count comes from, exact in every case:
 *     NANOU_COUNT_CSR=minstret   RISC-V in QEMU with -icount shift=0
 *     NANOU_COUNT_CSR=mcycle     RISC-V in a simulator that spends one cycle per instruction
 *     NANOU_COUNT_CCOUNT         Xtensa in such a simulator
 *     NANOU_COUNT_MARKS          other cores in QEMU, and under plugin/profile.c: the program only marks the
 * place, by a call of nanou_mark; plugin/count.c notes how many instructions had been executed at each mark,
 * and what is printed here is which mark it was
 */
#ifndef NANOU_MEASURE_H
#define NANOU_MEASURE_H

#include <stdint.h>

/* So that what surrounds a call is the same code wherever the count comes from. */
#define NOT_INLINED __attribute__((noinline))

#if defined(NANOU_COUNT_CSR)

#define CSR_TEXT(name)  #name
#define CSR_NAME(macro) CSR_TEXT(macro)
/* The assembler must know that CSR instructions exist; naming them in -march would select other libraries. */
#define READ_CSR(name)                                                                                       \
    __extension__({                                                                                          \
        uint32_t csr_value;                                                                                  \
        __asm__ volatile(".option push\n .option arch, +zicsr\n csrr %0, " name "\n .option pop"             \
                         : "=r"(csr_value));                                                                 \
        csr_value;                                                                                           \
    })

/* Instructions retired so far. The high half is read twice in case the low half wraps in between. */
static NOT_INLINED uint64_t instruction_count(void) {
    uint32_t high, low;
    do {
        high = READ_CSR(CSR_NAME(NANOU_COUNT_CSR) "h");
        low = READ_CSR(CSR_NAME(NANOU_COUNT_CSR));
    } while (high != READ_CSR(CSR_NAME(NANOU_COUNT_CSR) "h"));
    return ((uint64_t)high << 32) | low;
}
#define NANOU_MEASURED

#elif defined(NANOU_COUNT_CCOUNT)

/* Cycles so far, modulo 2^32: differences are right as long as one inference takes fewer. */
static NOT_INLINED uint64_t instruction_count(void) {
    uint32_t cycles;
    __asm__ volatile("rsr %0, ccount" : "=r"(cycles) : : "memory");
    return cycles;
}
#define NANOU_MEASURED

#elif defined(NANOU_COUNT_MARKS)

void mark_here(void); /* start.S of each architecture */

/* Which mark this is, from 0. */
static NOT_INLINED uint64_t instruction_count(void) {
    static uint32_t mark_number;
    mark_here();
    return mark_number++;
}
#define NANOU_MEASURED

#endif

#ifdef NANOU_MEASURED

#define STACK_PAINT_BYTES 16384u
#define STACK_PAINT_WORD  0xA5C35A3Cu

#if defined(__riscv)
#define COPY_STACK_POINTER "mv %0, sp"
#define STACK_KEEP_BYTES   0u
#elif defined(__arm__)
#define COPY_STACK_POINTER "mov %0, sp"
#define STACK_KEEP_BYTES   0u
#elif defined(__XTENSA__)
#define COPY_STACK_POINTER "or %0, a1, a1"
#define STACK_KEEP_BYTES                                                                                     \
    16u /* the windowed ABI keeps registers of the caller's caller below the stack pointer */
#endif

/* The caller's stack pointer: what it calls will use the bytes below. */
static inline uintptr_t stack_pointer(void) {
    uintptr_t sp;
    __asm__ volatile(COPY_STACK_POINTER : "=r"(sp));
    return sp;
}

/* Fills STACK_PAINT_BYTES below `top` with a pattern. Inlined, so that it has no frame there itself. */
static inline void stack_paint(uintptr_t top) {
    for (uintptr_t address = top - STACK_PAINT_BYTES; address < top - STACK_KEEP_BYTES; address += 4) {
        *(volatile uint32_t *)address = STACK_PAINT_WORD;
    }
}

/* Bytes below `top` that were written since stack_paint; STACK_PAINT_BYTES means "at least that". */
static inline uint32_t stack_used_bytes(uintptr_t top) {
    uintptr_t address = top - STACK_PAINT_BYTES;
    while (address < top - STACK_KEEP_BYTES && *(volatile uint32_t *)address == STACK_PAINT_WORD) {
        address += 4;
    }
    return (uint32_t)(top - address);
}

#endif
#endif
