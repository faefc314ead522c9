/* motor_requests.h - the request MOTORS: what the motors were told, and why they are stopped. */
#ifndef NANOU_MOTOR_REQUESTS_H
#define NANOU_MOTOR_REQUESTS_H

#include "session.h"

answer_status_t request_motors(session_t *session, const protocol_frame_t *request);

#endif
