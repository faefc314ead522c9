#include "invert_weights.h"

const int8_t invert_weights[3] = {1, 2, 4};
