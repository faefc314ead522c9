#ifndef APP_MODEL_H
#define APP_MODEL_H

#include "invert.h"

#define APP_MODEL                   (&invert)
#define APP_TRACED                  (&invert_traced)
#define APP_GOLDEN_LAYERS           INVERT_GOLDEN_LAYERS
#define APP_ARENA_BYTES             INVERT_ARENA_BYTES
#define APP_ROWS_ARENA_BYTES        INVERT_ARENA_BYTES
#define APP_ARENA_ALIGNMENT_BYTES   16u
#define APP_INPUTS                  1
#define APP_OUTPUTS                 1
#define APP_HAS_VISION              0
#define APP_HAS_BORDER              0
#define app_golden_layers           invert_golden_layers

#endif
