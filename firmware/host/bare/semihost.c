/* semihost.c - the harness on RISC-V and Arm in QEMU: files and console of the host by semihosting.
 *
 * Operation numbers and argument blocks: "Semihosting for AArch32 and AArch64", Arm, release 2.0, which the
 * RISC-V specification adopts. Input and output have fixed names in QEMU's working directory.
 */
#include "../target.h"
#include "machine.h"

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06 };
enum { SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5 };
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

static uintptr_t input;
static uintptr_t output;

#if defined(__riscv)
/* The three instructions must lie in one page, uncompressed: QEMU recognises exactly this pattern. */
__attribute__((noinline, aligned(32))) static uintptr_t semihost(uintptr_t operation, const void *block) {
    register uintptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = block;
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     "slli zero, zero, 0x1f\n"
                     "ebreak\n"
                     "srai zero, zero, 7\n"
                     ".option pop\n"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}
#else
static uintptr_t semihost(uintptr_t operation, const void *block) {
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#endif

static uintptr_t open_file(const char *name, size_t name_bytes, uintptr_t mode) {
    const uintptr_t block[3] = {(uintptr_t)name, mode, name_bytes};
    const uintptr_t handle = semihost(SYS_OPEN, block);
    if (handle == (uintptr_t)-1) {
        target_print("error cannot open ");
        target_print(name);
        target_print("\n");
    }
    return handle;
}

int target_open(int argc, char **argv) {
    (void)argc;
    (void)argv;
    input = open_file("input.bin", sizeof "input.bin" - 1, MODE_READ_BINARY);
    output = open_file("output.bin", sizeof "output.bin" - 1, MODE_WRITE_BINARY);
    return input == (uintptr_t)-1 || output == (uintptr_t)-1 ? -1 : 0;
}

size_t target_read(void *data, size_t size_bytes) {
    const uintptr_t block[3] = {input, (uintptr_t)data, size_bytes};
    return size_bytes - semihost(SYS_READ, block); /* the answer is how many bytes were NOT read */
}

int target_write(const void *data, size_t size_bytes) {
    const uintptr_t block[3] = {output, (uintptr_t)data, size_bytes};
    return semihost(SYS_WRITE, block) == 0 ? 0 : -1;
}

int target_close(void) {
    const uintptr_t input_block[1] = {input};
    const uintptr_t output_block[1] = {output};
    (void)semihost(SYS_CLOSE, input_block);
    return semihost(SYS_CLOSE, output_block) == 0 ? 0 : -1;
}

void target_print(const char *text) {
    (void)semihost(SYS_WRITE0, text);
}

void machine_exit(int result) {
    const uintptr_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)result};
    for (;;) {
        (void)semihost(SYS_EXIT_EXTENDED, block);
    }
}
