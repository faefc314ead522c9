/* picture_requests.h - the requests about pictures, CAPTURE, INFER of a frame and STREAM, and when to drive.
 *
 * Promises: no heap. While the host uses the model (any request but INFO, STREAM, RESTART, MOTORS and TUNE),
 * and for 2 s after, the motors are stopped and no picture is taken. Where motors are recorded, not driven,
 * REHEARSE drives by pictures of the host as the camera's would.
 */
#ifndef NANOU_PICTURE_REQUESTS_H
#define NANOU_PICTURE_REQUESTS_H

#include "session.h"
#include "vision/driving.h"
#include "vision/picture_stream.h"

typedef struct pictures {
    session_t *session;
    driving_t driving; /* its mask is the buffer MASK */
    picture_stream_t stream;
    uint8_t *host_frame; /* room for a frame that the host writes; NULL for none */
    uint8_t has_driven;  /* not paused */
    uint8_t has_rehearsed;
    uint8_t is_captured; /* `captured` is held until port_camera_give */
    camera_frame_t captured;
    uint64_t used_us; /* when the host last used the model; 0: never */
} pictures_t;

/* Looks for a camera; `frame` is room for frames that the host sends, NULL for none. After the self-test. */
void pictures_begin(pictures_t *pictures, session_t *session, uint8_t *frame, uint32_t frame_bytes);

/* The host is about to use the model for `request`: stops driving, and gives back a captured picture unless
 * that is what is meant. */
void pictures_pause(pictures_t *pictures, const protocol_frame_t *request);

/* Drives by one picture: 1, or 0 where nothing was to be done. */
int pictures_drive(pictures_t *pictures);

/* INFER of SOURCE_HOST_FRAME and SOURCE_CAPTURED, after check_infer. */
answer_status_t request_infer_frame(pictures_t *pictures, const protocol_frame_t *request);

/* REHEARSE: checked as INFER of SOURCE_HOST_FRAME. */
answer_status_t request_rehearse(pictures_t *pictures, const protocol_frame_t *request);

answer_status_t request_capture(pictures_t *pictures, const protocol_frame_t *request);
answer_status_t request_stream(pictures_t *pictures, const protocol_frame_t *request);

#endif
