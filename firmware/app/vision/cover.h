/* cover.h - how much of the ground ahead is drivable: the lower half of a mask, in three thirds. Portable
 * C99.
 *
 * Rows are counted one by one, as the model gives them. The size of the mask is the caller's, so that a
 * computer can count masks of any model by this very code (firmware/host/policy.c).
 */
#ifndef NANOU_COVER_H
#define NANOU_COVER_H

#include "vision/navigation.h"

/* What was counted so far: drivable pixels of the left, middle and right third of the lower half. */
typedef struct cover_count {
    uint32_t drivable_px[3];
} cover_count_t;

/* Counts row `y` of a packed mask of `width_px` x `height_px`; rows of the upper half change nothing. */
void cover_add_row(cover_count_t *count, uint32_t width_px, uint32_t height_px, uint32_t y,
                   const uint8_t *bits);

/* The cover once every row was counted. */
cover_t cover_of(const cover_count_t *count, uint32_t width_px, uint32_t height_px);

#endif
