/* drivable.h - from the model's output to a decision. Portable C99. */
#ifndef NANOU_DRIVABLE_H
#define NANOU_DRIVABLE_H

#include "nanou.h"

/* How many pixels of the last output frame reach the threshold; 0 before the first inference. */
uint32_t drivable_pixels(const nanou_t *net);

/* The same in thousandths of the frame. */
uint32_t drivable_permille(const nanou_t *net);

#endif
