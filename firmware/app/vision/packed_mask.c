#include "vision/packed_mask.h"

uint32_t packed_mask_count(const uint8_t *bits, uint32_t first_px, uint32_t end_px) {
    uint32_t count = 0;
    for (uint32_t x = first_px; x < end_px; x++) {
        count += (uint32_t)(bits[x / 8u] >> (7u - x % 8u)) & 1u;
    }
    return count;
}
