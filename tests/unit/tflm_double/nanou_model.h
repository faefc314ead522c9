/* The part of a generated nanou_model.h that the harness uses; NANOU_ARENA_BYTES comes with -D. */
#pragma once
#include "nanou.h"
#define NANOU_ARENA_ALIGNMENT_BYTES 16u
#define NANOU_INPUT_BYTES           14400u
#define NANOU_OUTPUT_BYTES          4800u
