#include "vision/cover.h"

#include "vision/packed_mask.h"

/* Where a third begins, or the last one ends. A mask of one or two columns has empty ones. */
static uint32_t bound_px(uint32_t width_px, uint32_t part) {
    const uint32_t third_px = width_px / 3u;
    return part == 0u ? 0u : part == 1u ? third_px : part == 2u ? width_px - third_px : width_px;
}

void cover_add_row(cover_count_t *count, uint32_t width_px, uint32_t height_px, uint32_t y,
                   const uint8_t *bits) {
    for (uint32_t part = 0; part < 3u && y >= height_px / 2u; part++) {
        count->drivable_px[part] +=
            packed_mask_count(bits, bound_px(width_px, part), bound_px(width_px, part + 1u));
    }
}

/* An empty third counts as not drivable. */
static uint16_t permille(const cover_count_t *count, uint32_t width_px, uint32_t height_px, uint32_t part) {
    const uint32_t columns = bound_px(width_px, part + 1u) - bound_px(width_px, part);
    const uint32_t pixels = (height_px - height_px / 2u) * columns;
    return (uint16_t)(pixels == 0 ? 0 : count->drivable_px[part] * 1000u / pixels);
}

cover_t cover_of(const cover_count_t *count, uint32_t width_px, uint32_t height_px) {
    return (cover_t){permille(count, width_px, height_px, 0), permille(count, width_px, height_px, 1),
                     permille(count, width_px, height_px, 2)};
}
