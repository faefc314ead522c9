/* The generated library keeps what nanou.h promises, on this very processor. */
#include <string.h>

#include "app_model.h"
#include "check.h"

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint8_t rows_arena[APP_ROWS_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static int8_t frame[APP_INPUT_BYTES];
static nanou_t net;

static int read_row(void *user, uint32_t row, int8_t *data) {
    const uint32_t row_bytes = APP_INPUT_WIDTH_PX * APP_INPUT_CHANNELS;
    (void)user;
    for (uint32_t i = 0; i < row_bytes; i++) {
        data[i] = frame[row * row_bytes + i];
    }
    return 0;
}

static int refuse_row(void *user, uint32_t row, int8_t *data) {
    (void)user;
    (void)row;
    (void)data;
    return -1;
}

static int8_t output[APP_OUTPUT_BYTES];

static int write_row(void *user, uint32_t row, const int8_t *data) {
    const uint32_t row_bytes = APP_OUTPUT_WIDTH_PX * APP_OUTPUT_CHANNELS;
    (void)user;
    for (uint32_t i = 0; i < row_bytes; i++) {
        output[row * row_bytes + i] = data[i];
    }
    return 0;
}

static void check_memory(void) {
    nanou_t none;
    CHECK(nanou_init(&none, APP_MODEL, arena, APP_ROWS_ARENA_BYTES - 1) == NANOU_ERROR_ARENA_SIZE);
    CHECK(nanou_init(&none, APP_MODEL, arena + 1, APP_ROWS_ARENA_BYTES) == NANOU_ERROR_ARENA_ALIGNMENT);
    CHECK(nanou_init(&none, APP_MODEL, NULL, sizeof arena) == NANOU_ERROR_ARGUMENT);
    CHECK(nanou_init(&none, APP_MODEL, arena, APP_ROWS_ARENA_BYTES) == NANOU_OK);
    CHECK(nanou_input(&none, 0) == NULL);
    CHECK(nanou_invoke(&none) == NANOU_ERROR_ARENA_SIZE);
}

static void check_frames(void) {
    CHECK(nanou_init(&net, APP_MODEL, arena, sizeof arena) == NANOU_OK);
    CHECK(nanou_golden_input(&net) == NANOU_OK);
    CHECK(nanou_input(&net, APP_INPUTS) == NULL);
    CHECK(nanou_output(&net, APP_OUTPUTS) == NULL);
    memcpy(frame, nanou_input(&net, 0), sizeof frame);
    CHECK(nanou_invoke(&net) == NANOU_OK);
    CHECK(nanou_output_crc32(&net) == APP_MODEL->golden_crc32);
    CHECK(memcmp(frame, nanou_input(&net, 0), sizeof frame) == 0);
}

static void check_rows(void) {
    CHECK(nanou_init(&net, APP_MODEL, rows_arena, sizeof rows_arena) == NANOU_OK);
    CHECK(nanou_invoke_rows(&net, read_row, write_row, NULL) == NANOU_OK);
    CHECK(nanou_crc32(0, output, sizeof output) == APP_MODEL->golden_crc32);
    CHECK(nanou_invoke_rows(&net, refuse_row, write_row, NULL) == NANOU_ERROR_RUNTIME);
}

int main(void) {
    check_memory();
    check_frames();
    check_rows();
    return check_result();
}
