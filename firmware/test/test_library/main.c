/* The generated library keeps what nanou.h promises, on this very processor. */
#include "check.h"
#include "nanou.h"
#include "nanou_model.h"

static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static uint8_t rows_arena[NANOU_ROWS_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static int8_t frame[NANOU_INPUT_BYTES];
static nanou_t net;

static int read_row(void *user, uint32_t row, int8_t *data) {
    const nanou_tensor_info_t *input = &nanou_get_info()->input;
    const uint32_t row_bytes = (uint32_t)input->width_px * input->channels;
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

static int8_t output[NANOU_OUTPUT_BYTES];

static int write_row(void *user, uint32_t row, const int8_t *data) {
    const nanou_tensor_info_t *info = &nanou_get_info()->output;
    const uint32_t row_bytes = (uint32_t)info->width_px * info->channels;
    (void)user;
    for (uint32_t i = 0; i < row_bytes; i++) {
        output[row * row_bytes + i] = data[i];
    }
    return 0;
}

static void check_memory(void) {
    nanou_t none;
    CHECK(nanou_init(&none, arena, NANOU_ROWS_ARENA_BYTES - 1) == NANOU_ERROR_ARENA_SIZE);
    CHECK(nanou_init(&none, arena + 1, NANOU_ROWS_ARENA_BYTES) == NANOU_ERROR_ARENA_ALIGNMENT);
    CHECK(nanou_init(&none, NULL, sizeof arena) == NANOU_ERROR_ARGUMENT);
    CHECK(nanou_init(&none, arena, NANOU_ROWS_ARENA_BYTES) == NANOU_OK);
    CHECK(nanou_input(&none) == NULL);
    CHECK(nanou_invoke(&none) == NANOU_ERROR_ARENA_SIZE);
}

static void check_frames(void) {
    CHECK(nanou_init(&net, arena, sizeof arena) == NANOU_OK);
    nanou_golden_input(nanou_input(&net));
    CHECK(nanou_invoke(&net) == NANOU_OK);
    CHECK(nanou_crc32(nanou_output(&net), NANOU_OUTPUT_BYTES) == NANOU_GOLDEN_CRC32);
}

static void check_rows(void) {
    nanou_golden_input(frame);
    CHECK(nanou_init(&net, rows_arena, sizeof rows_arena) == NANOU_OK);
    CHECK(nanou_invoke_rows(&net, read_row, write_row, NULL) == NANOU_OK);
    CHECK(nanou_crc32(output, NANOU_OUTPUT_BYTES) == NANOU_GOLDEN_CRC32);
    CHECK(nanou_invoke_rows(&net, refuse_row, write_row, NULL) == NANOU_ERROR_RUNTIME);
}

int main(void) {
    check_memory();
    check_frames();
    check_rows();
    return check_result();
}
