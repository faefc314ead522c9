#include "service.h"

#include <string.h>

#include "device_requests.h"
#include "model_requests.h"
#include "motor_requests.h"
#include "vehicle.h"

#define READ_CHUNK_BYTES 64u

/* ---- With and without pictures ----------------------------------------------------------------- */

#if APP_HAS_VISION

#include "vision/tuning.h"

static answer_status_t execute_with_pictures(service_t *service, const protocol_frame_t *request) {
    switch (request->header.type) {
    case REQUEST_INFER:
        return request_infer_frame(&service->pictures, request);
    case REQUEST_CAPTURE:
        return request_capture(&service->pictures, request);
    case REQUEST_REHEARSE:
        return request_rehearse(&service->pictures, request);
    case REQUEST_TUNE:
        return request_tune(&service->pictures.driving, &service->session, request);
    default:
        return request_stream(&service->pictures, request);
    }
}

static void pause_for(service_t *service, const protocol_frame_t *request) {
    pictures_pause(&service->pictures, request);
}

void service_see(service_t *service, uint8_t *frame, uint32_t frame_bytes) {
    pictures_begin(&service->pictures, &service->session, frame, frame_bytes);
}

int service_drive(service_t *service) {
    return pictures_drive(&service->pictures);
}

#else

static answer_status_t execute_with_pictures(service_t *service, const protocol_frame_t *request) {
    (void)service;
    (void)request;
    return STATUS_UNSUPPORTED;
}

static void pause_for(service_t *service, const protocol_frame_t *request) {
    (void)service;
    (void)request;
}

void service_see(service_t *service, uint8_t *frame, uint32_t frame_bytes) {
    (void)service;
    (void)frame;
    (void)frame_bytes;
}

int service_drive(service_t *service) {
    (void)service;
    return 0;
}

#endif

/* ---- Requests ---------------------------------------------------------------------------------- */

static answer_status_t execute_infer(service_t *service, const protocol_frame_t *request) {
    const answer_status_t status = check_infer(request);
    if (status != STATUS_OK) {
        return status;
    }
    return request->payload[INFER_SOURCE_AT] == SOURCE_INPUTS
               ? request_infer_input(&service->session, request)
               : execute_with_pictures(service, request);
}

/* A repetition that arrives after the restart must not restart again, so the boot has to be named. */
static answer_status_t check_restart(const protocol_frame_t *request) {
    if (request->header.boot == 0) {
        return STATUS_OTHER_BOOT;
    }
    return request->payload_bytes == 0 ? STATUS_OK : STATUS_MALFORMED;
}

/* All others leave the device to drive. */
static int uses_model(uint8_t type) {
    return type != REQUEST_INFO && type != REQUEST_STREAM && type != REQUEST_RESTART &&
           type != REQUEST_MOTORS && type != REQUEST_TUNE;
}

static answer_status_t execute(service_t *service, const protocol_frame_t *request) {
    session_t *const session = &service->session;
    if (request->header.version != PROTOCOL_VERSION) {
        return STATUS_VERSION;
    }
    if (request->header.boot != 0 && request->header.boot != session->boot) {
        return STATUS_OTHER_BOOT;
    }
    const uint8_t type = request->header.type;
    if (uses_model(type)) {
        pause_for(service, request);
    }
    switch (type) {
    case REQUEST_INFO:
        return request_info(session, request);
    case REQUEST_WRITE:
        return request_write(session, request);
    case REQUEST_READ:
        return request_read(session, request);
    case REQUEST_INFER:
        return execute_infer(service, request);
    case REQUEST_GOLDEN:
        return request_golden(session, request);
    case REQUEST_BENCH:
        return request_bench(session, request);
    case REQUEST_RESET:
        return request_reset(session, request);
    case REQUEST_MOTORS:
        return request_motors(session, request);
    case REQUEST_CAPTURE:
    case REQUEST_STREAM:
    case REQUEST_REHEARSE:
    case REQUEST_TUNE:
        return execute_with_pictures(service, request);
    case REQUEST_RESTART:
        return check_restart(request);
    default:
        return STATUS_UNKNOWN;
    }
}

static int is_repetition(const service_t *service, const protocol_frame_t *request) {
    return service->has_answered && service->answered_crc32 == request->crc32 &&
           service->session.answer.header.sequence == request->header.sequence;
}

static void answer(service_t *service, const protocol_frame_t *request) {
    answer_t *const reply = &service->session.answer;
    if (!is_repetition(service, request)) {
        reply->payload_bytes = 0;
        const answer_status_t status = execute(service, request);
        if (status != STATUS_OK && status != STATUS_MODEL_FAILED) {
            reply->payload_bytes = 0;
        }
        reply->header.version = PROTOCOL_VERSION;
        reply->header.type = request->header.type;
        reply->header.status = (uint8_t)status;
        reply->header.sequence = request->header.sequence;
        reply->header.boot = service->session.boot;
        service->answered_crc32 = request->crc32;
        service->has_answered = 1;
    }
    session_send_answer(&service->session);
    if (reply->header.type == REQUEST_RESTART && reply->header.status == STATUS_OK) {
        vehicle_stop(STOP_HOST);
        port_restart();
    }
}

uint32_t service_poll(service_t *service) {
    uint8_t bytes[READ_CHUNK_BYTES];
    const uint32_t count = port_read(bytes, sizeof bytes);
    for (uint32_t i = 0; i < count; i++) {
        protocol_frame_t frame;
        /* A line that echoes returns what was sent; that is no request. */
        if (protocol_receive(&service->session.reader, bytes[i], &frame) &&
            (frame.header.flags & (PROTOCOL_ANSWER | PROTOCOL_EVENT)) == 0) {
            answer(service, &frame);
        }
    }
    return count;
}

void service_init(service_t *service, nanou_t *net) {
    memset(service, 0, sizeof *service);
    session_init(&service->session, net);
}
