#include "nanou_model.h"

const nanou_golden_layer_t nanou_golden_layers[NANOU_GOLDEN_LAYERS] = {
    {0u /*LAYER 0*/, 0, "0 invert"},
    {0u /*LAYER 1*/, 1, "1 weigh"},
};
