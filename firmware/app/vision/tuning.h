/* tuning.h - the request TUNE: the policy's numbers and the threshold, told and changed while it runs.
 *
 * Promises: numbers that contradict each other, or the time that a decision holds, change nothing. What is
 * changed stops the motors and lasts until the device starts again.
 */
#ifndef NANOU_TUNING_H
#define NANOU_TUNING_H

#include "session.h"
#include "vision/driving.h"

answer_status_t request_tune(driving_t *driving, session_t *session, const protocol_frame_t *request);

#endif
