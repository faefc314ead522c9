/* A hand-written stand-in for a generated library, small enough to check by eye; see src/nanou_model.c. */
#ifndef NANOU_MODEL_H
#define NANOU_MODEL_H

#include "nanou.h"

#define NANOU_MODEL_NAME   "invert"
#define NANOU_MODEL_SHA256 "0000000000000000000000000000000000000000000000000000000000000000"
#define NANOU_RUNTIME      "aot"

#define NANOU_INPUT_HEIGHT_PX 4
#define NANOU_INPUT_WIDTH_PX  5
#define NANOU_INPUT_CHANNELS  3
#define NANOU_INPUT_BYTES     60

#define NANOU_OUTPUT_HEIGHT_PX 4
#define NANOU_OUTPUT_WIDTH_PX  5
#define NANOU_OUTPUT_CHANNELS  1
#define NANOU_OUTPUT_BYTES     20

#define NANOU_ARENA_BYTES           192 /* 64 input + 32 output + 64 work + 32 spare */
#define NANOU_ROWS_ARENA_BYTES      192
#define NANOU_ARENA_ALIGNMENT_BYTES 16
#define NANOU_WORKING_BYTES         64
#define NANOU_MACS                  60

#define NANOU_THRESHOLD_Q  0
#define NANOU_GOLDEN_SEED  1u
#define NANOU_GOLDEN_CRC32 0u /*GOLDEN*/

#define NANOU_GOLDEN_LAYERS 2

typedef struct nanou_golden_layer {
    uint32_t crc32;
    uint16_t operator_index;
    const char *name;
} nanou_golden_layer_t;

extern const nanou_golden_layer_t nanou_golden_layers[NANOU_GOLDEN_LAYERS];

extern const int8_t nanou_input_lookup[256];
void nanou_golden_input(int8_t *input);
uint32_t nanou_crc32(const void *data, size_t size_bytes);

#endif
