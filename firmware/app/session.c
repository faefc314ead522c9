#include "session.h"

#include <string.h>

#define LOG_TEXT_BYTES 120u
#define LOG_LIMIT      20u /* lines in a second */

/* ---- State ------------------------------------------------------------------------------------- */

void session_init(session_t *session, nanou_t *net) {
    memset(session, 0, sizeof *session);
    session->net = net;
    session->boot = port_boot_number();
    session->features =
        (uint8_t)((port_has_cycles ? FEATURE_CYCLES : 0) | (profile_layers() > 0 ? FEATURE_LAYERS : 0));
}

void session_note_self_test(session_t *session, const self_test_t *result) {
    session->self_test = *result;
    session->self_tested = 1;
}

int session_is_proven(const session_t *session) {
    return session->self_tested && self_test_passed(&session->self_test);
}

static uint32_t hex_digit(char digit) {
    return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void session_model_hash(uint8_t *bytes, uint32_t count) {
    const char *text = APP_MODEL->sha256;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
}

/* ---- Answers ----------------------------------------------------------------------------------- */

void answer_bytes(session_t *session, const uint8_t *bytes, uint32_t count) {
    answer_t *const answer = &session->answer;
    const uint32_t room_bytes = PROTOCOL_PAYLOAD_BYTES - answer->payload_bytes;
    const uint32_t fitting = count < room_bytes ? count : room_bytes;
    memcpy(answer->payload + answer->payload_bytes, bytes, fitting);
    answer->payload_bytes += fitting;
}

void answer_u8(session_t *session, uint32_t value) {
    const uint8_t byte = (uint8_t)value;
    answer_bytes(session, &byte, 1);
}

void answer_u16(session_t *session, uint32_t value) {
    uint8_t bytes[2];
    protocol_put_u16(bytes, (uint16_t)value);
    answer_bytes(session, bytes, sizeof bytes);
}

void answer_u32(session_t *session, uint32_t value) {
    uint8_t bytes[4];
    protocol_put_u32(bytes, value);
    answer_bytes(session, bytes, sizeof bytes);
}

void answer_text(session_t *session, const char *text) {
    uint32_t count = 0;
    while (text[count] != '\0') {
        count++;
    }
    answer_bytes(session, (const uint8_t *)text, count);
}

/* ---- Sending ----------------------------------------------------------------------------------- */

static int send_frame(session_t *session, const protocol_header_t *header, const uint8_t *payload,
                      uint32_t payload_bytes) {
    return port_write(session->line, protocol_encode(session->line, header, payload, payload_bytes));
}

static uint8_t flags(const session_t *session, int kind) {
    return (uint8_t)(kind | (session_is_proven(session) ? 0 : PROTOCOL_UNPROVEN));
}

void session_send_answer(session_t *session) {
    answer_t *const answer = &session->answer;
    answer->header.flags = flags(session, PROTOCOL_ANSWER);
    (void)send_frame(session, &answer->header, answer->payload, answer->payload_bytes);
}

static protocol_header_t event_header(const session_t *session, uint8_t type, uint32_t sequence) {
    const protocol_header_t header = {
        .version = PROTOCOL_VERSION,
        .type = type,
        .flags = flags(session, PROTOCOL_EVENT),
        .sequence = sequence,
        .boot = session->boot,
    };
    return header;
}

int session_send_event(session_t *session, uint8_t type, const uint8_t *payload, uint32_t payload_bytes) {
    const protocol_header_t header = event_header(session, type, session->events++);
    return send_frame(session, &header, payload, payload_bytes);
}

static uint32_t put_log(uint8_t *payload, uint8_t level, const char *text) {
    uint32_t count = 0;
    payload[LOG_LEVEL_AT] = level;
    protocol_put_u32(payload + LOG_TIME_AT, (uint32_t)(port_time_us() / 1000u));
    while (text[count] != '\0' && count < LOG_TEXT_BYTES) {
        payload[LOG_TEXT_AT + count] = (uint8_t)text[count];
        count++;
    }
    return LOG_TEXT_AT + count;
}

int session_log(session_t *session, uint8_t level, const char *text) {
    uint8_t payload[LOG_TEXT_AT + LOG_TEXT_BYTES];
    const uint64_t now_ms = port_time_us() / 1000u;
    if (now_ms - session->log_second_ms >= 1000u) {
        session->log_second_ms = now_ms;
        session->log_lines = 0;
    }
    if (session->log_lines++ >= LOG_LIMIT) {
        return -1;
    }
    (void)session_send_event(session, EVENT_LOG, payload, put_log(payload, level, text));
    return 0;
}

int session_log_from_alarm(const session_t *session, uint8_t level, const char *text) {
    uint8_t payload[LOG_TEXT_AT + LOG_TEXT_BYTES];
    uint8_t line[PROTOCOL_LINE_BYTES]; /* the session's own may be half filled */
    const protocol_header_t header = event_header(session, EVENT_LOG, session->events);
    const uint32_t payload_bytes = put_log(payload, level, text);
    return port_write_from_alarm(line, protocol_encode(line, &header, payload, payload_bytes));
}
