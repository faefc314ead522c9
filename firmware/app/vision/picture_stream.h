/* picture_stream.h - judged pictures as events: size and checksums first, then the mask and the pixels in
 * pieces.
 *
 * Promises: no heap. Sending one picture takes no longer than 1 s; what is left then is dropped.
 */
#ifndef NANOU_PICTURE_STREAM_H
#define NANOU_PICTURE_STREAM_H

#include "session.h"
#include "vision/driving.h"

typedef struct picture_stream {
    uint8_t is_on;
    uint8_t shrink;       /* every n-th pixel both ways; 0: no pixels */
    uint32_t interval_us; /* least time between pictures */
    uint64_t next_us;     /* when the next one is due */
    uint64_t ends_us;     /* when the lease ends */
    uint32_t pictures;    /* sent so far */
} picture_stream_t;

/* Sends the picture that was judged last, if one is due. */
void picture_stream_send(picture_stream_t *stream, session_t *session, const driving_t *driving,
                         const camera_frame_t *frame);

/* Bytes of a picture's pixels. */
uint32_t picture_bytes(const camera_frame_t *frame);

/* DECISION_BYTES and STAGES_BYTES as the stream and the answer to INFER have them. */
void picture_put_decision(uint8_t *bytes, const decision_t *decision);
void picture_put_stages(uint8_t *bytes, uint32_t capture_us, const vision_times_t *times);

#endif
