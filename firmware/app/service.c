#include "service.h"

#include <string.h>

#include "service_requests.h"

#define READ_CHUNK_BYTES 64u
#define LOG_TEXT_BYTES   120u
#define LOG_LIMIT        20u /* lines in a second */

/* ---- Answers ----------------------------------------------------------------------------------- */

void answer_bytes(service_t *service, const uint8_t *bytes, uint32_t count) {
    service_answer_t *answer = &service->answer;
    const uint32_t room_bytes = PROTOCOL_PAYLOAD_BYTES - answer->payload_bytes;
    const uint32_t fitting = count < room_bytes ? count : room_bytes;
    memcpy(answer->payload + answer->payload_bytes, bytes, fitting);
    answer->payload_bytes += fitting;
}

void answer_u8(service_t *service, uint32_t value) {
    const uint8_t byte = (uint8_t)value;
    answer_bytes(service, &byte, 1);
}

void answer_u16(service_t *service, uint32_t value) {
    uint8_t bytes[2];
    protocol_put_u16(bytes, (uint16_t)value);
    answer_bytes(service, bytes, sizeof bytes);
}

void answer_u32(service_t *service, uint32_t value) {
    uint8_t bytes[4];
    protocol_put_u32(bytes, value);
    answer_bytes(service, bytes, sizeof bytes);
}

void answer_text(service_t *service, const char *text) {
    uint32_t count = 0;
    while (text[count] != '\0') {
        count++;
    }
    answer_bytes(service, (const uint8_t *)text, count);
}

static void send_frame(service_t *service, const protocol_header_t *header, const uint8_t *payload,
                       uint32_t payload_bytes) {
    /* Nobody to tell that it was not sent: the host will ask again. */
    (void)port_write(service->line, protocol_encode(service->line, header, payload, payload_bytes));
}

/* ---- Requests ---------------------------------------------------------------------------------- */

/* A repetition that arrives after the restart must not restart again, so the boot has to be named. */
static service_status_t request_restart(const protocol_frame_t *request) {
    if (request->header.boot == 0) {
        return STATUS_OTHER_BOOT;
    }
    return request->payload_bytes == 0 ? STATUS_OK : STATUS_MALFORMED;
}

static service_status_t execute(service_t *service, const protocol_frame_t *request) {
    if (request->header.version != PROTOCOL_VERSION) {
        return STATUS_VERSION;
    }
    if (request->header.boot != 0 && request->header.boot != service->boot) {
        return STATUS_OTHER_BOOT;
    }
    const uint8_t type = request->header.type;
#ifndef NANOU_NO_VISION
    if (type != REQUEST_INFO && type != REQUEST_STREAM && type != REQUEST_RESTART) {
        vision_yield(service, type, request);
    }
#endif
    switch (type) {
    case REQUEST_INFO:
        return request_info(service, request);
    case REQUEST_WRITE:
        return request_write(service, request);
    case REQUEST_READ:
        return request_read(service, request);
    case REQUEST_INFER:
        return request_infer(service, request);
    case REQUEST_GOLDEN:
        return request_golden(service, request);
    case REQUEST_BENCH:
        return request_bench(service, request);
    case REQUEST_RESTART:
        return request_restart(request);
#ifndef NANOU_NO_VISION
    case REQUEST_CAPTURE:
        return request_capture(service, request);
    case REQUEST_STREAM:
        return request_stream(service, request);
#else
    case REQUEST_CAPTURE:
    case REQUEST_STREAM:
        return STATUS_UNSUPPORTED;
#endif
    default:
        return STATUS_UNKNOWN;
    }
}

static int is_repetition(const service_t *service, const protocol_frame_t *request) {
    return service->has_answered && service->answered_crc32 == request->crc32 &&
           service->answer.header.sequence == request->header.sequence;
}

static void answer(service_t *service, const protocol_frame_t *request) {
    service_answer_t *reply = &service->answer;
    if (!is_repetition(service, request)) {
        reply->payload_bytes = 0;
        const service_status_t status = execute(service, request);
        if (status != STATUS_OK && status != STATUS_MODEL_FAILED) {
            reply->payload_bytes = 0;
        }
        reply->header.version = PROTOCOL_VERSION;
        reply->header.type = request->header.type;
        reply->header.status = (uint8_t)status;
        reply->header.sequence = request->header.sequence;
        reply->header.boot = service->boot;
        service->answered_crc32 = request->crc32;
        service->has_answered = 1;
    }
    reply->header.flags = (uint8_t)(PROTOCOL_ANSWER | (service_is_proven(service) ? 0 : PROTOCOL_UNPROVEN));
    send_frame(service, &reply->header, reply->payload, reply->payload_bytes);
    if (reply->header.type == REQUEST_RESTART && reply->header.status == STATUS_OK) {
        port_restart();
    }
}

uint32_t service_poll(service_t *service) {
    uint8_t bytes[READ_CHUNK_BYTES];
    const uint32_t count = port_read(bytes, sizeof bytes);
    for (uint32_t i = 0; i < count; i++) {
        protocol_frame_t frame;
        /* A line that echoes returns what was sent; that is no request. */
        if (protocol_receive(&service->reader, bytes[i], &frame) &&
            (frame.header.flags & (PROTOCOL_ANSWER | PROTOCOL_EVENT)) == 0) {
            answer(service, &frame);
        }
    }
    return count;
}

/* ---- Events ------------------------------------------------------------------------------------ */

int service_send_event(service_t *service, uint8_t type, const uint8_t *payload, uint32_t payload_bytes) {
    const int flags = PROTOCOL_EVENT | (service_is_proven(service) ? 0 : PROTOCOL_UNPROVEN);
    const protocol_header_t header = {PROTOCOL_VERSION,  type,         (uint8_t)flags, 0,
                                      service->events++, service->boot};
    return port_write(service->line, protocol_encode(service->line, &header, payload, payload_bytes));
}

void service_log(service_t *service, service_log_level_t level, const char *text) {
    uint8_t payload[5 + LOG_TEXT_BYTES];
    uint32_t count = 0;
    const uint64_t now_ms = port_time_us() / 1000u;
    if (now_ms - service->log_second >= 1000u) {
        service->log_second = now_ms;
        service->log_lines = 0;
    }
    if (service->log_lines++ >= LOG_LIMIT) {
        return;
    }
    payload[0] = (uint8_t)level;
    protocol_put_u32(payload + 1, (uint32_t)now_ms);
    while (text[count] != '\0' && count < LOG_TEXT_BYTES) {
        payload[5 + count] = (uint8_t)text[count];
        count++;
    }
    (void)service_send_event(service, EVENT_LOG, payload, 5 + count);
}

/* ---- State ------------------------------------------------------------------------------------- */

void service_init(service_t *service, nanou_t *net) {
    memset(service, 0, sizeof *service);
    service->net = net;
    service->boot = port_boot_number();
}

void service_note_self_test(service_t *service, const self_test_t *result) {
    service->self_test = *result;
    service->self_tested = 1;
}

void service_see(service_t *service, uint8_t *frame, uint32_t frame_bytes) {
#ifndef NANOU_NO_VISION
    vision_begin(service, frame, frame_bytes);
#else
    (void)service;
    (void)frame;
    (void)frame_bytes;
#endif
}

#ifdef NANOU_NO_VISION
int service_drive(service_t *service) {
    (void)service;
    return 0;
}
#endif

int service_is_proven(const service_t *service) {
    return service->self_tested && self_test_passed(&service->self_test);
}
