/* run_every_way.c - the model on each frame of a file, with whole frames and row by row; writes both outputs.
 *
 * One translation unit with the generated sources, which are named by -I, so that a test compiles once.
 */
#include <stdio.h>
#include <string.h>

#include "nanou_contract.c"
#include "nanou_model.c"
#include "nanou_weights.c"

enum {
    IN_ROW = NANOU_INPUT_BYTES / NANOU_INPUT_HEIGHT_PX,
    OUT_ROW = NANOU_OUTPUT_BYTES / NANOU_OUTPUT_HEIGHT_PX
};

/* Of exactly the stated sizes, so that AddressSanitizer sees what lies beyond them. */
static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static uint8_t rows_arena[NANOU_ROWS_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static int8_t frame[NANOU_INPUT_BYTES];
static uint32_t reads, writes;

static int read_row(void *user, uint32_t y, int8_t *row) {
    (void)user;
    memcpy(row, frame + y * IN_ROW, IN_ROW);
    return y != reads++;
}

static int write_row(void *user, uint32_t y, const int8_t *row) {
    return y != writes++ || fwrite(row, 1, OUT_ROW, user) != OUT_ROW;
}

int main(int argc, char **argv) {
    FILE *const input = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *const output = argc == 3 ? fopen(argv[2], "wb") : NULL;
    nanou_t whole, passing;
    if (input == NULL || output == NULL) return 1;
    if (nanou_init(&whole, arena, sizeof arena) != NANOU_OK) return 2;
    if (nanou_init(&passing, rows_arena, sizeof rows_arena) != NANOU_OK) return 3;
    while (fread(frame, 1, sizeof frame, input) == sizeof frame) {
        memcpy(nanou_input(&whole), frame, sizeof frame);
        if (nanou_invoke(&whole) != NANOU_OK) return 4;
        if (memcmp(nanou_input(&whole), frame, sizeof frame) != 0) return 5; /* the input survives */
        if (fwrite(nanou_output(&whole), 1, NANOU_OUTPUT_BYTES, output) != NANOU_OUTPUT_BYTES) return 6;
        reads = writes = 0;
        if (nanou_invoke_rows(&passing, read_row, write_row, output) != NANOU_OK) return 7;
        if (writes != NANOU_OUTPUT_HEIGHT_PX) return 8;
    }
    return fclose(output) != 0;
}
