/* session.h - what requests and events share: the model, the line to the host, the answer that is being made.
 *
 * Promises: no heap; everything static is in session_t. It knows no request.
 */
#ifndef NANOU_SESSION_H
#define NANOU_SESSION_H

#include "messages.h"
#include "port.h"
#include "profile.h"
#include "protocol.h"
#include "self_test.h"

#define MODEL_SHA256_BYTES 32u

#if APP_INPUTS + APP_OUTPUTS > 255
#error "The device protocol numbers up to 255 inputs and outputs"
#endif

/* Memory that the host may read and write by number. */
typedef struct buffer {
    const uint8_t *bytes; /* NULL where there is none */
    uint8_t *writable;    /* NULL where the host may not write */
    uint32_t size_bytes;
} buffer_t;

/* The answer that is being made, and kept for repetition. */
typedef struct answer {
    protocol_header_t header;
    uint32_t payload_bytes;
    uint8_t payload[PROTOCOL_PAYLOAD_BYTES];
} answer_t;

typedef struct session {
    nanou_t *net;
    self_test_t self_test; /* of the boot, or the last GOLDEN */
    uint8_t self_tested;
    uint8_t features;          /* FEATURE_... */
    buffer_t frame;            /* BUFFER_FRAME */
    buffer_t mask;             /* BUFFER_MASK */
    uint32_t host_frame_bytes; /* room for a camera frame that the host writes; 0 for none */
    uint32_t boot;
    /* the line */
    protocol_reader_t reader;
    uint8_t line[PROTOCOL_LINE_BYTES]; /* what is being sent */
    answer_t answer;
    uint32_t events; /* sent so far: the next one's sequence number */
    /* logging: at most LOG_LIMIT lines in a second */
    uint64_t log_second_ms;
    uint32_t log_lines;
    /* measuring */
    profile_t profile;
    uint8_t has_profile;
} session_t;

/* Prepares `session`, whose bytes may be anything, for a model that nanou_init has prepared. */
void session_init(session_t *session, nanou_t *net);

/* Notes the result that INFO and every frame's flags tell. */
void session_note_self_test(session_t *session, const self_test_t *result);

/* 1 if the last self-test passed. */
int session_is_proven(const session_t *session);

/* The first `count` bytes of the model's SHA-256. */
void session_model_hash(uint8_t *bytes, uint32_t count);

/* Append to the answer; what does not fit is left out (texts) or cannot happen (numbers: answers are small).
 */
void answer_u8(session_t *session, uint32_t value);
void answer_u16(session_t *session, uint32_t value);
void answer_u32(session_t *session, uint32_t value);
void answer_bytes(session_t *session, const uint8_t *bytes, uint32_t count);
void answer_text(session_t *session, const char *text);

/* Sends the answer. Whether the host is still there nobody needs to know: it will ask again. */
void session_send_answer(session_t *session);

/* Sends an event: 0, or -1 where the host is gone. */
int session_send_event(session_t *session, uint8_t type, const uint8_t *payload, uint32_t payload_bytes);

/* Sends a line of text, up to 120 bytes of it, to whoever listens: 0, or -1 where it was one too many in this
 * second. `level`: LOG_... */
int session_log(session_t *session, uint8_t level, const char *text);

/* The same for vehicle_expire, whatever the rest is doing: -1 also where the line is in use. */
int session_log_from_alarm(const session_t *session, uint8_t level, const char *text);

#endif
