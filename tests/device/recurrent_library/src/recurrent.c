/* Keeps a sum: adds the first input times each of the second's values to it, and gives it and the first input. */
#include "recurrent.h"

#include <string.h>

enum { VALUES = 3 };
enum { STATE_AT = 0, SUM_AT = 16, ECHO_AT = 32, FACTOR_AT = 48, VALUES_AT = 49 };

static void reset(nanou_t *net) {
    const int32_t initial[VALUES] = {100, 100, 100};
    memcpy(net->arena + STATE_AT, initial, sizeof initial);
}

static void *tensor_data(const nanou_t *net, uint32_t number) {
    static const uint8_t at[] = {FACTOR_AT, VALUES_AT, SUM_AT, ECHO_AT};
    return net->arena + at[number];
}

static nanou_status_t invoke(nanou_t *net) {
    const int8_t *const inputs = (const int8_t *)net->arena + FACTOR_AT;
    int32_t sums[VALUES];
    memcpy(sums, net->arena + STATE_AT, sizeof sums);
    for (int i = 0; i < VALUES; i++) {
        sums[i] += inputs[0] * inputs[1 + i];
    }
    memcpy(net->arena + STATE_AT, sums, sizeof sums);
    memcpy(net->arena + SUM_AT, sums, sizeof sums);
    net->arena[ECHO_AT] = (uint8_t)inputs[0];
    return NANOU_OK;
}

static const nanou_tensor_t inputs[] = {{"factor", NANOU_INT8, 1, {1}, 1, 0.5f, -3},
                                        {"values", NANOU_INT8, 2, {1, 3}, 3, 0.25f, 7}};
static const nanou_tensor_t outputs[] = {{"sums", NANOU_INT32, 3, {1, 3, 1}, 12, 0.0f, 0},
                                         {"echo", NANOU_INT8, 1, {1}, 1, 0.5f, -3}};

const nanou_model_t recurrent = {
    .runtime = "aot",
    .name = "recurrent",
    .sha256 = RECURRENT_SHA256,
    .arena_bytes = RECURRENT_ARENA_BYTES,
    .rows_arena_bytes = RECURRENT_ARENA_BYTES,
    .arena_alignment_bytes = 16,
    .working_bytes = 0,
    .state_bytes = 12,
    .macs = 3,
    .threshold_q = 128,
    .input_count = 2,
    .output_count = 2,
    .inputs = inputs,
    .outputs = outputs,
    .golden_crc32 = 0u /*GOLDEN*/,
    .reset = reset,
    .invoke = invoke,
    .tensor_data = tensor_data,
};
