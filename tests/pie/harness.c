/* harness.c - run a function of vector instructions on 4,096 bytes of the input, and write them out. */
#include "measure.h"
#include "target.h"

void vector_code(uint8_t *memory, uint32_t eight);

static uint8_t memory[4096] __attribute__((aligned(4096)));

int main(int argc, char **argv) {
    if (target_open(argc, argv) != 0 || target_read(memory, sizeof memory) != sizeof memory) {
        return 1;
    }
    (void)instruction_count();
    vector_code(memory, 8);
    (void)instruction_count();
    return target_write(memory, sizeof memory) == 0 && target_close() == 0 ? 0 : 1;
}
