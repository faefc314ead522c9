#include "nanou_weights.h"

const int8_t nanou_weights[3] = {1, 2, 4};
