#ifndef NANOU_WEIGHTS_H
#define NANOU_WEIGHTS_H

#include <stdint.h>

extern const int8_t nanou_weights[3];

#endif
