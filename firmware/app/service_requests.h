/* service_requests.h - between service.c and the files that execute requests; nobody else's business.
 *
 * Each function executes one request and appends its answer to `service->answer`; what it returns is the
 * status. On a status other than STATUS_OK the payload counts only where docs/PROTOCOL.md says so.
 */
#ifndef NANOU_SERVICE_REQUESTS_H
#define NANOU_SERVICE_REQUESTS_H

#include "service.h"

enum { REQUEST_INFO = 1, REQUEST_WRITE, REQUEST_READ, REQUEST_INFER, REQUEST_GOLDEN, REQUEST_BENCH };
enum { REQUEST_CAPTURE = 7, REQUEST_STREAM, REQUEST_RESTART };
enum { EVENT_LOG = 64, EVENT_STREAM = 65 };
enum { BUFFER_INPUT = 0, BUFFER_OUTPUT, BUFFER_FRAME, BUFFER_MASK };

service_status_t request_info(service_t *service, const protocol_frame_t *request);
service_status_t request_write(service_t *service, const protocol_frame_t *request);
service_status_t request_read(service_t *service, const protocol_frame_t *request);
service_status_t request_infer(service_t *service, const protocol_frame_t *request);
service_status_t request_golden(service_t *service, const protocol_frame_t *request);
service_status_t request_bench(service_t *service, const protocol_frame_t *request);

#ifndef NANOU_NO_VISION
/* service_vision.c: INFER of a camera frame (its size and model have been checked), CAPTURE, STREAM. */
service_status_t request_infer_camera(service_t *service, const protocol_frame_t *request);
service_status_t request_capture(service_t *service, const protocol_frame_t *request);
service_status_t request_stream(service_t *service, const protocol_frame_t *request);

/* The host is about to use the model: stop driving, and give back a captured picture unless it is meant. */
void vision_yield(service_t *service, uint8_t request_type, const protocol_frame_t *request);
void vision_begin(service_t *service, uint8_t *frame, uint32_t frame_bytes);
#endif

/* Append to the answer; what does not fit is left out (texts) or cannot happen (numbers: answers are small).
 */
void answer_u8(service_t *service, uint32_t value);
void answer_u16(service_t *service, uint32_t value);
void answer_u32(service_t *service, uint32_t value);
void answer_bytes(service_t *service, const uint8_t *bytes, uint32_t count);
void answer_text(service_t *service, const char *text);

/* The first `count` bytes of the model's SHA-256. */
void model_hash(uint8_t *bytes, uint32_t count);

#endif
