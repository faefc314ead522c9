/* simcall.c - the harness on Xtensa in QEMU: files and console of the host by the simulator's system calls.
 *
 * Numbers and arguments: "Xtensa Instruction Set Simulator (ISS) User's Guide", SIMCALL, as in QEMU's
 * target/xtensa/xtensa-semi.c. Input and output are files with fixed names in QEMU's working directory; both
 * must exist.
 */
#include "../bare/machine.h"
#include "../target.h"

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6 };
enum {
    OPEN_READ = 0,
    OPEN_WRITE = 1
}; /* flags that would create a file are the host's own in some versions */
enum { CONSOLE = 1 };

static int32_t input;
static int32_t output;

/* start.S: the windowed ABI passes these where SIMCALL looks for them. Returns the result, -1 for an error.
 */
int32_t simulator_call(uint32_t number, uintptr_t first, uintptr_t second, uintptr_t third);

static int32_t open_file(const char *name, uint32_t flags) {
    const int32_t file = simulator_call(SYS_OPEN, (uintptr_t)name, flags, 0);
    if (file < 0) {
        target_print("error cannot open ");
        target_print(name);
        target_print("\n");
    }
    return file;
}

int target_open(int argc, char **argv) {
    (void)argc;
    (void)argv;
    input = open_file("input.bin", OPEN_READ);
    output = open_file("output.bin", OPEN_WRITE);
    return input < 0 || output < 0 ? -1 : 0;
}

size_t target_read(void *data, size_t size_bytes) {
    size_t done_bytes = 0;
    while (done_bytes < size_bytes) {
        const uintptr_t rest = (uintptr_t)data + done_bytes;
        const int32_t count = simulator_call(SYS_READ, (uintptr_t)input, rest, size_bytes - done_bytes);
        if (count <= 0) {
            break;
        }
        done_bytes += (size_t)count;
    }
    return done_bytes;
}

static int write_file(int32_t file, const void *data, size_t size_bytes) {
    size_t done_bytes = 0;
    while (done_bytes < size_bytes) {
        const uintptr_t rest = (uintptr_t)data + done_bytes;
        const int32_t count = simulator_call(SYS_WRITE, (uintptr_t)file, rest, size_bytes - done_bytes);
        if (count <= 0) {
            return -1;
        }
        done_bytes += (size_t)count;
    }
    return 0;
}

int target_write(const void *data, size_t size_bytes) {
    return write_file(output, data, size_bytes);
}

int target_close(void) {
    (void)simulator_call(SYS_CLOSE, (uintptr_t)input, 0, 0);
    return simulator_call(SYS_CLOSE, (uintptr_t)output, 0, 0) < 0 ? -1 : 0;
}

void target_print(const char *text) {
    size_t size_bytes = 0;
    while (text[size_bytes] != '\0') {
        size_bytes++;
    }
    (void)write_file(CONSOLE, text, size_bytes);
}

void machine_exit(int result) {
    for (;;) {
        (void)simulator_call(SYS_EXIT, (uintptr_t)result, 0, 0);
    }
}
