/* machine.h - what start.S calls, the same on both RV32 machines. */
#ifndef NANOU_MACHINE_H
#define NANOU_MACHINE_H

#include <stdint.h>

#define EXIT_TRAP 70

/* Ends the run with the harness's result. */
void machine_exit(int result) __attribute__((noreturn));

/* Reports an exception (RISC-V mcause, mepc, mtval) and ends the run with EXIT_TRAP. */
void machine_trap(uint32_t cause, uint32_t pc, uint32_t address) __attribute__((noreturn));

#endif
