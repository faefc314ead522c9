/* trap.c - report an exception as text, so that a crash names its place. */
#include "../target.h"
#include "machine.h"

static void print_hex(const char *label, uint32_t value) {
    char digits[9];
    for (int i = 0; i < 8; i++) {
        digits[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
    }
    digits[8] = '\0';
    target_print(label);
    target_print(digits);
}

void machine_trap(uint32_t cause, uint32_t pc, uint32_t address) {
    print_hex("\ntrap cause ", cause);
    print_hex(" pc ", pc);
    print_hex(" address ", address);
    target_print("\n");
    machine_exit(EXIT_TRAP);
}
