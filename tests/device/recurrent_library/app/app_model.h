#ifndef APP_MODEL_H
#define APP_MODEL_H

#include "recurrent.h"

#define APP_MODEL                 (&recurrent)
#define APP_GOLDEN_LAYERS         0
#define APP_ARENA_BYTES           RECURRENT_ARENA_BYTES
#define APP_ROWS_ARENA_BYTES      RECURRENT_ARENA_BYTES
#define APP_ARENA_ALIGNMENT_BYTES 16u
#define APP_INPUTS                2
#define APP_OUTPUTS               2
#define APP_HAS_VISION            0
#define APP_HAS_BORDER            0

#endif
