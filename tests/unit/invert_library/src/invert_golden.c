#include "invert.h"

const nanou_golden_layer_t invert_golden_layers[INVERT_GOLDEN_LAYERS] = {
    {0u /*LAYER 0*/, 0, 0, "0 invert"},
    {0u /*LAYER 1*/, 1, 0, "1 weigh"},
};
