/* packed_mask.h - the layout of the bit-packed mask, and counting bits of a packed row. Portable C99.
 *
 * One bit for each pixel, 1 where drivable. Rows from the top, each begins a byte, the leftmost pixel in the
 * highest bit: the order of a PBM file (P4). What is left of a row's last byte is 0. Nothing is decided
 * here: the generated library says what is drivable and packs rows (app_mask_row).
 */
#ifndef NANOU_PACKED_MASK_H
#define NANOU_PACKED_MASK_H

#include <stdint.h>

/* How many of the pixels from `first_px` up to, not including, `end_px` of a packed row are 1. */
uint32_t packed_mask_count(const uint8_t *bits, uint32_t first_px, uint32_t end_px);

#endif
