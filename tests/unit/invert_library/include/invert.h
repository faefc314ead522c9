/* A hand-written stand-in for a generated library, small enough to check by eye; see src/invert.c. */
#ifndef INVERT_H
#define INVERT_H

#include "nanou.h"

#define INVERT_SHA256 "0000000000000000000000000000000000000000000000000000000000000000"

#define INVERT_INPUT_BYTES  60
#define INVERT_OUTPUT_BYTES 20
#define INVERT_ARENA_BYTES  192 /* 64 input + 32 output + 64 work + 32 spare */

#define INVERT_GOLDEN_CRC32  0u /*GOLDEN*/
#define INVERT_GOLDEN_LAYERS 2

extern const nanou_model_t invert;
extern const nanou_model_t invert_traced;
extern const nanou_golden_layer_t invert_golden_layers[INVERT_GOLDEN_LAYERS];

#endif
