/* service.h - what a device answers: the requests of docs/PROTOCOL.md, one at a time.
 *
 * Promises: no heap; everything static is in service_t, which the caller owns. A request that is repeated
 * because its answer was lost is not executed again. Nothing that arrives is trusted: wrong sizes, buffers,
 * offsets, models and checksums are refused by status, and a refused request has no effect.
 */
#ifndef NANOU_SERVICE_H
#define NANOU_SERVICE_H

#include "session.h"

#if APP_HAS_VISION
#include "vision/picture_requests.h"
#endif

typedef struct service {
    session_t session;
    uint32_t answered_crc32; /* of the request that the session's answer belongs to */
    uint8_t has_answered;
#if APP_HAS_VISION
    pictures_t pictures;
#endif
} service_t;

/* Prepares `service`, whose bytes may be anything, for a model that nanou_init has prepared. */
void service_init(service_t *service, nanou_t *net);

/* After the self-test: looks for a camera; `frame` is room for frames that the host sends, NULL for none. */
void service_see(service_t *service, uint8_t *frame, uint32_t frame_bytes);

/* Drives by one picture: 1, or 0 where nothing was to be done: no camera, or the host uses the model. */
int service_drive(service_t *service);

/* Takes what has arrived and answers; returns how many bytes came. Never waits for more. */
uint32_t service_poll(service_t *service);

#endif
