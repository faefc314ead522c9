/* vision.h - a picture of the camera, through the model, to a mask and its cover. Portable C99.
 *
 * Joins nanou_camera (resizing, row by row), nanou_invoke_rows and app_mask_row. Rows go from the camera's
 * own buffer into the model and from the model into bits: there is no frame in between, so nanou_init needs
 * no more than APP_ROWS_ARENA_BYTES.
 */
#ifndef NANOU_VISION_H
#define NANOU_VISION_H

#include "app_model.h"
#include "port.h"
#include "vision/cover.h"
#include "vision/packed_mask.h"

#define MASK_WIDTH_PX  APP_OUTPUT_WIDTH_PX
#define MASK_HEIGHT_PX APP_OUTPUT_HEIGHT_PX
#define MASK_ROW_BYTES APP_MASK_ROW_BYTES
#define MASK_BYTES     (MASK_ROW_BYTES * MASK_HEIGHT_PX)

typedef enum vision_status {
    VISION_OK = 0,
    VISION_ERROR_FRAME = 1, /* not APP_CAMERA_WIDTH_PX x APP_CAMERA_HEIGHT_PX, or no pixels */
    VISION_ERROR_MODEL = 2  /* nanou_invoke_rows failed */
} vision_status_t;

/* How long one picture took, in microseconds. The stages are parts of the whole; their shares are measured
 * by port_ticks. */
typedef struct vision_times {
    uint32_t preprocessing_us; /* camera rows -> input rows */
    uint32_t model_us;
    uint32_t mask_us; /* output rows -> mask and cover */
    uint32_t total_us;
} vision_times_t;

/* One picture on its way, and what it took. The caller owns it, and sets `threshold_q`; the rest may be
 * anything before the first picture. */
typedef struct vision {
    app_camera_t camera;
    const uint8_t *pixels;
    uint8_t *mask;
    cover_count_t count; /* so far */
    uint32_t preprocessing_ticks, mask_ticks;
    vision_times_t times;
    int32_t threshold_q;
} vision_t;

/* Runs `frame` through `net`. A pixel is drivable from `vision->threshold_q` on; models without
 * APP_HAS_THRESHOLD look at none. `mask`: MASK_BYTES, or NULL where only the cover is wanted. `mask` and
 * `cover` are whole only where VISION_OK is returned. */
vision_status_t vision_see(vision_t *vision, nanou_t *net, const camera_frame_t *frame, uint8_t *mask,
                           cover_t *cover);

#endif
