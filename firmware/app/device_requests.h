/* device_requests.h - the requests that do not run the model: INFO, WRITE, READ.
 *
 * As all request_... functions: executes one request, appends to the session's answer and returns the status.
 * On a status other than STATUS_OK the payload counts only where docs/PROTOCOL.md says so.
 */
#ifndef NANOU_DEVICE_REQUESTS_H
#define NANOU_DEVICE_REQUESTS_H

#include "session.h"

answer_status_t request_info(session_t *session, const protocol_frame_t *request);
answer_status_t request_write(session_t *session, const protocol_frame_t *request);
answer_status_t request_read(session_t *session, const protocol_frame_t *request);

#endif
