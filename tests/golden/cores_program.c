/* Runs a model for two cores on two threads, whole frames and rows in turn, and compares each output with that of one
 * thread: ARGUMENT 1 times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_model.h"
#include "cores.h"

enum { IN_ROW = APP_INPUT_BYTES / APP_INPUT_ROWS, OUT_ROW = APP_OUTPUT_BYTES / APP_OUTPUT_ROWS };

static uint8_t one_arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint8_t two_arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint8_t frame[APP_INPUT_BYTES], output[APP_OUTPUT_BYTES];
static uint32_t stop_at;

static int read_row(void *user, uint32_t y, int8_t *row) {
    (void)user;
    memcpy(row, frame + y * IN_ROW, IN_ROW);
    return y == stop_at;
}

static int write_row(void *user, uint32_t y, const int8_t *row) {
    (void)user;
    memcpy(output + y * OUT_ROW, row, OUT_ROW);
    return 0;
}

int main(int argc, char **argv) {
    static nanou_t one, two;
    const int count = argc > 1 ? atoi(argv[1]) : 1;
    uint32_t noise = 1;
    if (nanou_init(&one, APP_MODEL, one_arena, sizeof one_arena) != NANOU_OK ||
        nanou_init(&two, APP_MODEL, two_arena, sizeof two_arena) != NANOU_OK || cores_share(&two) != 0) {
        return 2;
    }
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof frame; k++) {
            noise = noise * 1664525u + 1013904223u;
            frame[k] = (uint8_t)(noise >> 24);
        }
        memcpy(nanou_input(&one, 0), frame, sizeof frame);
        nanou_status_t status = nanou_invoke(&one);
        stop_at = i % 4 == 1 ? APP_INPUT_ROWS / 2u : ~0u; /* a callback that fails leaves the next inference right */
        if (i % 2 == 0) {
            memcpy(nanou_input(&two, 0), frame, sizeof frame);
            status = status == NANOU_OK ? nanou_invoke(&two) : status;
            memcpy(output, nanou_output(&two, 0), sizeof output);
        } else if (nanou_invoke_rows(&two, read_row, write_row, NULL) != (stop_at == ~0u ? NANOU_OK : NANOU_ERROR_RUNTIME)) {
            return 3;
        }
        if (status != NANOU_OK || (stop_at == ~0u && memcmp(output, nanou_output(&one, 0), sizeof output) != 0)) {
            printf("inference %d differs\n", i);
            return 1;
        }
    }
    if (nanou_golden_input(&two) != NANOU_OK || nanou_invoke(&two) != NANOU_OK) {
        return 4;
    }
    printf("%d equal, golden checksum %s\n", count,
           nanou_output_crc32(&two) == APP_MODEL->golden_crc32 ? "right" : "wrong");
    return 0;
}
