#include "vision/vision.h"

static const uint8_t *next_row(void *user, uint32_t y) {
    const vision_t *const vision = (const vision_t *)user;
    return vision->pixels + y * APP_CAMERA_ROW_BYTES;
}

static int read_row(void *user, uint32_t y, int8_t *row) {
    vision_t *const vision = (vision_t *)user;
    const uint32_t start = port_ticks();
    const int failed = app_camera_read_row(&vision->camera, y, row);
    vision->preprocessing_ticks += port_ticks() - start;
    return failed;
}

static int write_row(void *user, uint32_t y, const int8_t *row) {
    vision_t *const vision = (vision_t *)user;
    const uint32_t start = port_ticks();
    uint8_t row_bits[MASK_ROW_BYTES];
    uint8_t *const bits = vision->mask != NULL ? vision->mask + y * MASK_ROW_BYTES : row_bits;
#if APP_HAS_THRESHOLD
    app_mask_row_from(row, vision->threshold_q, bits);
#else
    app_mask_row(row, bits);
#endif
    cover_add_row(&vision->count, MASK_WIDTH_PX, MASK_HEIGHT_PX, y, bits);
    vision->mask_ticks += port_ticks() - start;
    return 0;
}

/* Ticks of a stage -> its share of the whole time. */
static uint32_t share_us(uint32_t ticks, uint32_t total_ticks, uint32_t total_us) {
    return total_ticks == 0 ? 0 : (uint32_t)((uint64_t)ticks * total_us / total_ticks);
}

static void note_times(vision_t *vision, uint32_t total_ticks, uint64_t total_us) {
    vision_times_t *const times = &vision->times;
    times->total_us = total_us < UINT32_MAX ? (uint32_t)total_us : UINT32_MAX;
    times->preprocessing_us = share_us(vision->preprocessing_ticks, total_ticks, times->total_us);
    times->mask_us = share_us(vision->mask_ticks, total_ticks, times->total_us);
    times->model_us = times->total_us - times->preprocessing_us - times->mask_us;
}

vision_status_t vision_see(vision_t *vision, nanou_t *net, const camera_frame_t *frame, uint8_t *mask,
                           cover_t *cover) {
    if (frame->pixels == NULL || frame->width_px != APP_CAMERA_WIDTH_PX ||
        frame->height_px != APP_CAMERA_HEIGHT_PX) {
        return VISION_ERROR_FRAME;
    }
    vision->pixels = frame->pixels;
    vision->mask = mask;
    vision->preprocessing_ticks = vision->mask_ticks = 0;
    vision->count = (cover_count_t){{0, 0, 0}};
    app_camera_begin(&vision->camera, next_row, vision, frame->big_endian);

    const uint64_t start_us = port_time_us();
    const uint32_t start = port_ticks();
    const nanou_status_t status = nanou_invoke_rows(net, read_row, write_row, vision);
    note_times(vision, port_ticks() - start, port_time_us() - start_us);
    if (status != NANOU_OK) {
        return VISION_ERROR_MODEL;
    }
    *cover = cover_of(&vision->count, MASK_WIDTH_PX, MASK_HEIGHT_PX);
    return VISION_OK;
}
