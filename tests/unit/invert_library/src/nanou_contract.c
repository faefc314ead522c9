/* What every generated library says about itself. */
#include "nanou_model.h"

static const nanou_info_t info = {
    .api_version = NANOU_API_VERSION,
    .runtime = NANOU_RUNTIME,
    .model_name = NANOU_MODEL_NAME,
    .model_sha256 = NANOU_MODEL_SHA256,
    .arena_bytes = NANOU_ARENA_BYTES,
    .arena_alignment_bytes = NANOU_ARENA_ALIGNMENT_BYTES,
    .working_bytes = NANOU_WORKING_BYTES,
    .macs = NANOU_MACS,
    .threshold_q = NANOU_THRESHOLD_Q,
    .input = {NANOU_INPUT_HEIGHT_PX, NANOU_INPUT_WIDTH_PX, NANOU_INPUT_CHANNELS, NANOU_INPUT_BYTES, 0.5f, 0},
    .output = {NANOU_OUTPUT_HEIGHT_PX, NANOU_OUTPUT_WIDTH_PX, NANOU_OUTPUT_CHANNELS, NANOU_OUTPUT_BYTES, 0.5f,
               0},
};

const nanou_info_t *nanou_get_info(void) {
    return &info;
}

int8_t *nanou_input(nanou_t *net) {
    return net == NULL ? NULL : net->input;
}

const int8_t *nanou_output(const nanou_t *net) {
    return net == NULL ? NULL : net->output;
}

const char *nanou_status_text(nanou_status_t status) {
    return status == NANOU_OK ? "ok" : status == NANOU_ERROR_ARENA_SIZE ? "arena too small" : "error";
}

void nanou_golden_input(int8_t *input) {
    uint32_t state = NANOU_GOLDEN_SEED;
    for (uint32_t i = 0; i < NANOU_INPUT_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        input[i] = (int8_t)(uint8_t)(state >> 24);
    }
}

uint32_t nanou_crc32(const void *data, size_t size_bytes) {
    const uint8_t *bytes = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size_bytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}
