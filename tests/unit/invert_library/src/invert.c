/* Two "operators": 0 inverts each byte (-1 - q), 1 takes the weighted sum of the channels, scaled down. */
#include "invert.h"
#include "invert_weights.h"

#include <string.h>

enum { CHANNELS = INVERT_INPUT_BYTES / INVERT_OUTPUT_BYTES };

static nanou_status_t prepare(nanou_t *net, size_t arena_bytes) {
    memset(net->arena, 0, arena_bytes);
    return NANOU_OK;
}

static void *tensor_data(const nanou_t *net, uint32_t number) {
    return net->arena + (number == 0 ? 0 : 64);
}

static void trace(const nanou_t *net, uint32_t layer, const int8_t *row, uint32_t size_bytes) {
#ifdef NANOU_TRACED
    if (net->trace != NULL) {
        net->trace(net->trace_user, layer, row, size_bytes);
    }
#else
    (void)net;
    (void)layer;
    (void)row;
    (void)size_bytes;
#endif
}

static nanou_status_t invoke(nanou_t *net) {
    const int8_t *const input = (const int8_t *)net->arena;
    int8_t *const output = (int8_t *)net->arena + 64;
    int8_t *const work = (int8_t *)net->arena + 96;
    for (int i = 0; i < INVERT_INPUT_BYTES; i++) {
        work[i] = (int8_t)(-1 - input[i]);
    }
    /*FAULT*/
    trace(net, 0, work, INVERT_INPUT_BYTES);
    for (int i = 0; i < INVERT_OUTPUT_BYTES; i++) {
        int32_t sum = 0;
        for (int c = 0; c < CHANNELS; c++) {
            sum += work[CHANNELS * i + c] * invert_weights[c];
        }
        output[i] = (int8_t)(sum / 8);
    }
    /*LATE FAULT*/
    trace(net, 1, output, INVERT_OUTPUT_BYTES);
    return NANOU_OK;
}

static const nanou_tensor_t inputs[] = {{"image", NANOU_INT8, 4, {1, 4, 5, 3}, INVERT_INPUT_BYTES, 0.5f, 0}};
static const nanou_tensor_t outputs[] = {{"mask", NANOU_INT8, 4, {1, 4, 5, 1}, INVERT_OUTPUT_BYTES, 0.5f, 0}};

#ifdef NANOU_TRACED
const nanou_model_t invert_traced = {
    .golden_layer_count = INVERT_GOLDEN_LAYERS,
    .golden_layers = invert_golden_layers,
#else
const nanou_model_t invert = {
#endif
    .runtime = "aot",
    .name = "invert",
    .sha256 = INVERT_SHA256,
    .arena_bytes = INVERT_ARENA_BYTES,
    .rows_arena_bytes = INVERT_ARENA_BYTES,
    .arena_alignment_bytes = 16,
    .working_bytes = 64,
    .macs = 60,
    .threshold_q = 0,
    .input_count = 1,
    .output_count = 1,
    .inputs = inputs,
    .outputs = outputs,
    .golden_crc32 = INVERT_GOLDEN_CRC32,
    .prepare = prepare,
    .invoke = invoke,
    .tensor_data = tensor_data,
};
