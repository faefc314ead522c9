#include "mask.h"

/* The first channel is the drivable class. A threshold of 128 is never reached. */
static uint32_t is_drivable(const int8_t *pixel) {
    return (int32_t)pixel[0] >= (int32_t)(NANOU_THRESHOLD_Q);
}

void mask_pack_row(const int8_t *output_row, uint8_t *bits) {
    uint32_t packed = 0;
    for (uint32_t x = 0; x < MASK_WIDTH_PX; x++) {
        packed = (packed << 1) | is_drivable(output_row + x * NANOU_OUTPUT_CHANNELS);
        if (x % 8u == 7u) {
            bits[x / 8u] = (uint8_t)packed;
        }
    }
    if (MASK_WIDTH_PX % 8u != 0) {
        bits[MASK_ROW_BYTES - 1u] = (uint8_t)(packed << (8u - MASK_WIDTH_PX % 8u));
    }
}

uint32_t mask_count(const uint8_t *bits, uint32_t first_px, uint32_t end_px) {
    uint32_t count = 0;
    for (uint32_t x = first_px; x < end_px; x++) {
        count += (uint32_t)(bits[x / 8u] >> (7u - x % 8u)) & 1u;
    }
    return count;
}
