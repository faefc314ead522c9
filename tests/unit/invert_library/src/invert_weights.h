#ifndef INVERT_WEIGHTS_H
#define INVERT_WEIGHTS_H

#include <stdint.h>

extern const int8_t invert_weights[3];

#endif
