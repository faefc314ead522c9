/* machine.h - what start.S calls, the same on all bare machines. */
#ifndef NANOU_MACHINE_H
#define NANOU_MACHINE_H

#include <stdint.h>

#define EXIT_TRAP 70

/* Ends the run with the harness's result. */
void machine_exit(int result) __attribute__((noreturn));

/* Reports an exception and ends the run with EXIT_TRAP. `cause` is as the architecture numbers it: RISC-V
 * mcause, Armv7-M configurable fault status, Xtensa EXCCAUSE. */
void machine_trap(uint32_t cause, uint32_t pc, uint32_t address) __attribute__((noreturn));

#endif
