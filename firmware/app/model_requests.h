/* model_requests.h - the requests that run the model: INFER of its inputs, GOLDEN, BENCH; and RESET. */
#ifndef NANOU_MODEL_REQUESTS_H
#define NANOU_MODEL_REQUESTS_H

#include "session.h"

/* Whether an INFER is well formed and means this model; of any source. */
answer_status_t check_infer(const protocol_frame_t *request);

/* INFER of SOURCE_INPUTS, after check_infer. */
answer_status_t request_infer_input(session_t *session, const protocol_frame_t *request);

answer_status_t request_golden(session_t *session, const protocol_frame_t *request);
answer_status_t request_bench(session_t *session, const protocol_frame_t *request);
answer_status_t request_reset(session_t *session, const protocol_frame_t *request);

#endif
