/* measure.h - count instructions and stack on bare-metal RISC-V; absent elsewhere.
 *
 * NANOU_INSTRUCTION_CSR names the counter: `minstret` in QEMU with -icount shift=0, `mcycle` in the ESP32-C3
 * simulator, which spends one cycle per instruction. Without it there is nothing exact to count.
 */
#ifndef NANOU_MEASURE_H
#define NANOU_MEASURE_H

#ifdef NANOU_INSTRUCTION_CSR

#include <stdint.h>

#define STACK_PAINT_BYTES 16384u
#define STACK_PAINT_WORD  0xA5C35A3Cu

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
static inline uint64_t instruction_count(void) {
    uint32_t high, low;
    do {
        high = READ_CSR(CSR_NAME(NANOU_INSTRUCTION_CSR) "h");
        low = READ_CSR(CSR_NAME(NANOU_INSTRUCTION_CSR));
    } while (high != READ_CSR(CSR_NAME(NANOU_INSTRUCTION_CSR) "h"));
    return ((uint64_t)high << 32) | low;
}

/* The caller's stack pointer: what it calls will use the bytes below. */
static inline uintptr_t stack_pointer(void) {
    uintptr_t sp;
    __asm__ volatile("mv %0, sp" : "=r"(sp));
    return sp;
}

/* Fills STACK_PAINT_BYTES below `top` with a pattern. Inlined, so that it has no frame there itself. */
static inline void stack_paint(uintptr_t top) {
    for (uintptr_t address = top - STACK_PAINT_BYTES; address < top; address += 4) {
        *(volatile uint32_t *)address = STACK_PAINT_WORD;
    }
}

/* Bytes below `top` that were written since stack_paint; STACK_PAINT_BYTES means "at least that". */
static inline uint32_t stack_used_bytes(uintptr_t top) {
    uintptr_t address = top - STACK_PAINT_BYTES;
    while (address < top && *(volatile uint32_t *)address == STACK_PAINT_WORD) {
        address += 4;
    }
    return (uint32_t)(top - address);
}

#endif
#endif
