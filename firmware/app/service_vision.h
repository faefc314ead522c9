/* service_vision.h - the part of the service that sees: camera frames of the host and of the camera, the
 * stream, and when the application may drive.
 *
 * Promises: no heap. While the host uses the model (any request but INFO, STREAM and RESTART), and for 2 s
 * after, the motors are stopped and no picture is taken. Sending one streamed picture takes no longer than 1
 * s; what is left then is dropped.
 */
#ifndef NANOU_SERVICE_VISION_H
#define NANOU_SERVICE_VISION_H

#include "driving.h"

typedef struct service_vision {
    driving_t driving; /* its mask is the buffer MASK */
    uint8_t *frame;    /* room for a frame that the host writes; NULL for none */
    uint32_t frame_bytes;
    uint8_t has_camera;
    uint8_t has_driven;       /* not paused */
    uint8_t is_captured;      /* `captured` is held until port_camera_give */
    camera_frame_t captured;  /* by CAPTURE */
    uint64_t used_us;         /* when the host last used the model; 0: never */
    uint8_t streams;          /* STREAM is on: */
    uint8_t shrink;           /* 0: no picture */
    uint32_t interval_us;     /* least time between pictures */
    uint64_t stream_next_us;  /* when the next one is due */
    uint64_t stream_ends_us;  /* when the lease ends */
    uint32_t stream_pictures; /* sent so far */
} service_vision_t;

#endif
