/* run_every_way.c - the model on each frame of a file, with whole frames and row by row; writes both outputs.
 *
 * One translation unit with the generated sources, which are named by -I, so that a test compiles once.
 */
#include <stdio.h>
#include <string.h>

#include "app_model.h"

#include "sample.c"
#include "sample_weights.c"

enum { IN_ROW = APP_INPUT_BYTES / APP_INPUT_ROWS, OUT_ROW = APP_OUTPUT_BYTES / APP_OUTPUT_ROWS };

/* Of exactly the stated sizes, so that AddressSanitizer sees what lies beyond them. */
static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint8_t rows_arena[APP_ROWS_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static int8_t frame[APP_INPUT_BYTES];
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
    if (nanou_init(&whole, APP_MODEL, arena, sizeof arena) != NANOU_OK) return 2;
    if (nanou_init(&passing, APP_MODEL, rows_arena, sizeof rows_arena) != NANOU_OK) return 3;
    while (fread(frame, 1, sizeof frame, input) == sizeof frame) {
        memcpy(nanou_input(&whole, 0), frame, sizeof frame);
        if (nanou_invoke(&whole) != NANOU_OK) return 4;
        if (memcmp(nanou_input(&whole, 0), frame, sizeof frame) != 0) return 5; /* the input survives */
        if (fwrite(nanou_output(&whole, 0), 1, APP_OUTPUT_BYTES, output) != APP_OUTPUT_BYTES) return 6;
        reads = writes = 0;
        if (nanou_invoke_rows(&passing, read_row, write_row, output) != NANOU_OK) return 7;
        if (writes != APP_OUTPUT_ROWS) return 8;
    }
    return fclose(output) != 0;
}
