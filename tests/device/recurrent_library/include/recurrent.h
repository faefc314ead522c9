/* A hand-written stand-in for a generated library of two inputs, two outputs and state; see src/recurrent.c. */
#ifndef RECURRENT_H
#define RECURRENT_H

#include "nanou.h"

#define RECURRENT_SHA256      "0000000000000000000000000000000000000000000000000000000000000000"
#define RECURRENT_ARENA_BYTES 64 /* 16 state, 16 + 16 outputs, 16 inputs */

extern const nanou_model_t recurrent;

#endif
