/* packed_mask.h - the layout of the bit-packed mask, and counting bits of a packed row. Portable C99.
 *
 * One bit for each pixel, 1 where drivable. Rows from the top, each begins a byte, the leftmost pixel in the
 * highest bit: the order of a PBM file (P4). What is left of a row's last byte is 0. Nothing is decided
 * here: the generated library says what is drivable and packs rows (app_mask_row).
 */
#ifndef NANOU_PACKED_MASK_H
#define NANOU_PACKED_MASK_H

#include "app_model.h"

#define MASK_WIDTH_PX  APP_OUTPUT_WIDTH_PX
#define MASK_HEIGHT_PX APP_OUTPUT_HEIGHT_PX
#define MASK_ROW_BYTES APP_MASK_ROW_BYTES
#define MASK_BYTES     (MASK_ROW_BYTES * MASK_HEIGHT_PX)

/* How many of the pixels from `first_px` up to, not including, `end_px` of a packed row are 1. */
uint32_t packed_mask_count(const uint8_t *bits, uint32_t first_px, uint32_t end_px);

#endif
