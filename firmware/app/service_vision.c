#include "service_vision.h"

#include "service_requests.h"

#define PAUSE_US         2000000u /* from the host's last use of the model until driving goes on */
#define HOLD_US          3000000u /* a captured picture that nobody reads is given back */
#define SEND_LIMIT_US    1000000u
#define LEASE_LIMIT_S    60u
#define EVENT_HEAD_BYTES 9u /* kind, picture number, offset */
#define PIECE_BYTES      (PROTOCOL_PAYLOAD_BYTES - EVENT_HEAD_BYTES)

enum { STREAM_HEAD = 0, STREAM_MASK = 1, STREAM_PICTURE = 2 };

static void release(service_vision_t *vision) {
    if (vision->is_captured) {
        vision->is_captured = 0;
        port_camera_give();
    }
}

/* ---- Stream ------------------------------------------------------------------------------------ */

/* Pixels of a picture of which every n-th is sent both ways, in the order of a row. */
static uint32_t shrunk(uint32_t extent_px, uint32_t shrink) {
    return shrink == 0 ? 0 : (extent_px + shrink - 1u) / shrink;
}

/* Bytes `offset` .. of the shrunk picture. */
static void copy_picture(const camera_frame_t *frame, uint32_t shrink, uint32_t offset, uint8_t *bytes,
                         uint32_t count) {
    const uint32_t row_bytes = 2u * shrunk(frame->width_px, shrink);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t y = (offset + i) / row_bytes * shrink;
        const uint32_t x = (offset + i) % row_bytes / 2u * shrink;
        bytes[i] = frame->pixels[2u * (y * frame->width_px + x) + ((offset + i) & 1u)];
    }
}

static uint32_t picture_bytes(const camera_frame_t *frame, uint32_t shrink) {
    return 2u * shrunk(frame->width_px, shrink) * shrunk(frame->height_px, shrink);
}

static uint32_t picture_crc32(const camera_frame_t *frame, uint32_t shrink) {
    uint8_t bytes[64];
    const uint32_t size_bytes = picture_bytes(frame, shrink);
    uint32_t crc32 = 0;
    for (uint32_t offset = 0; offset < size_bytes; offset += sizeof bytes) {
        const uint32_t rest = size_bytes - offset;
        const uint32_t count = rest < sizeof bytes ? rest : (uint32_t)sizeof bytes;
        copy_picture(frame, shrink, offset, bytes, count);
        crc32 = protocol_crc32(crc32, bytes, count);
    }
    return crc32;
}

static void put_decision(uint8_t *bytes, const decision_t *decision) {
    bytes[0] = (uint8_t)decision->go;
    bytes[1] = (uint8_t)decision->steer;
    protocol_put_u16(bytes + 2, decision->cover.left_permille);
    protocol_put_u16(bytes + 4, decision->cover.centre_permille);
    protocol_put_u16(bytes + 6, decision->cover.right_permille);
}

static void put_stages(uint8_t *bytes, uint32_t capture_us, const vision_times_t *times) {
    protocol_put_u32(bytes, capture_us);
    protocol_put_u32(bytes + 4, times->preprocessing_us);
    protocol_put_u32(bytes + 8, times->model_us);
    protocol_put_u32(bytes + 12, times->mask_us);
}

static int send_head(service_t *service, const driving_t *driving, const camera_frame_t *frame,
                     uint8_t *event) {
    const uint32_t shrink = service->vision.shrink;
    uint8_t *const head = event + 5;
    event[0] = STREAM_HEAD;
    protocol_put_u16(head, MASK_WIDTH_PX);
    protocol_put_u16(head + 2, MASK_HEIGHT_PX);
    protocol_put_u32(head + 4, protocol_crc32(0, driving->mask, MASK_BYTES));
    put_decision(head + 8, &driving->decision);
    protocol_put_u16(head + 16, (uint16_t)statistics_fps_tenths(&driving->statistics));
    protocol_put_u16(head + 18, (uint16_t)shrunk(frame->width_px, shrink));
    protocol_put_u16(head + 20, (uint16_t)shrunk(frame->height_px, shrink));
    head[22] = frame->big_endian;
    protocol_put_u32(head + 23, shrink == 0 ? 0 : picture_crc32(frame, shrink));
    put_stages(head + 27, measure_mean(&driving->statistics.capture_us), &driving->vision.times);
    return service_send_event(service, EVENT_STREAM, event, 5 + 43);
}

/* All of it, or as much as the line takes in time. */
static void send_picture(service_t *service, const driving_t *driving, const camera_frame_t *frame) {
    uint8_t event[PROTOCOL_PAYLOAD_BYTES];
    const uint32_t shrink = service->vision.shrink;
    const uint32_t size_bytes[2] = {MASK_BYTES, picture_bytes(frame, shrink)};
    const uint64_t start_us = port_time_us();
    protocol_put_u32(event + 1, service->vision.stream_pictures++);
    int gone = send_head(service, driving, frame, event);
    for (uint32_t part = 0; part < 2u; part++) {
        event[0] = (uint8_t)(part == 0 ? STREAM_MASK : STREAM_PICTURE);
        for (uint32_t offset = 0; offset < size_bytes[part] && !gone; offset += PIECE_BYTES) {
            const uint32_t rest = size_bytes[part] - offset;
            const uint32_t count = rest < PIECE_BYTES ? rest : PIECE_BYTES;
            protocol_put_u32(event + 5, offset);
            if (part == 0) {
                for (uint32_t i = 0; i < count; i++) {
                    event[EVENT_HEAD_BYTES + i] = driving->mask[offset + i];
                }
            } else {
                copy_picture(frame, shrink, offset, event + EVENT_HEAD_BYTES, count);
            }
            gone = service_send_event(service, EVENT_STREAM, event, EVENT_HEAD_BYTES + count) != 0 ||
                   port_time_us() - start_us > SEND_LIMIT_US;
        }
    }
}

static void observe(void *user, const driving_t *driving, const camera_frame_t *frame) {
    service_t *const service = (service_t *)user;
    service_vision_t *const vision = &service->vision;
    const uint64_t now_us = port_time_us();
    vision->streams = vision->streams && now_us < vision->stream_ends_us;
    if (vision->streams && now_us >= vision->stream_next_us) {
        vision->stream_next_us = now_us + vision->interval_us;
        send_picture(service, driving, frame);
    }
}

service_status_t request_stream(service_t *service, const protocol_frame_t *request) {
    service_vision_t *const vision = &service->vision;
    if (request->payload_bytes != 6) {
        return STATUS_MALFORMED;
    }
    if (!vision->has_camera) {
        return STATUS_UNSUPPORTED;
    }
    if (!service_is_proven(service) && request->payload[0]) {
        return STATUS_UNPROVEN; /* nothing is judged, so nothing would come */
    }
    const uint32_t lease_s = protocol_get_u16(request->payload + 4);
    const uint32_t granted_s = lease_s < LEASE_LIMIT_S ? lease_s : LEASE_LIMIT_S;
    vision->streams = request->payload[0] != 0;
    vision->shrink = request->payload[1];
    vision->interval_us = protocol_get_u16(request->payload + 2) * 1000u;
    vision->stream_ends_us = port_time_us() + granted_s * 1000000u;
    vision->stream_next_us = 0;
    if (vision->streams) {
        release(vision);
        vision->used_us = 0; /* go on at once */
    }
    answer_bytes(service, request->payload, 4);
    answer_u16(service, granted_s);
    return STATUS_OK;
}

/* ---- Requests ---------------------------------------------------------------------------------- */

service_status_t request_capture(service_t *service, const protocol_frame_t *request) {
    service_vision_t *const vision = &service->vision;
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    release(vision);
    const int taken = port_camera_take(&vision->captured);
    if (taken != PORT_CAMERA_OK) {
        return taken == PORT_CAMERA_NONE ? STATUS_UNSUPPORTED : STATUS_CAMERA_FAILED;
    }
    vision->is_captured = 1;
    const camera_frame_t *const frame = &vision->captured;
    const uint32_t size_bytes = 2u * frame->width_px * frame->height_px;
    answer_u16(service, frame->width_px);
    answer_u16(service, frame->height_px);
    answer_u8(service, frame->big_endian);
    answer_u32(service, size_bytes);
    answer_u32(service, protocol_crc32(0, frame->pixels, size_bytes));
    return STATUS_OK;
}

/* The frame that INFER names, of the host or captured; its pixels are NULL where there is none. */
static camera_frame_t named_frame(const service_vision_t *vision, const uint8_t *payload) {
    camera_frame_t frame = {vision->frame, 0, 0, payload[1]};
    frame.width_px = protocol_get_u16(payload + 2);
    frame.height_px = protocol_get_u16(payload + 4);
    if (payload[0] == 2) {
        const camera_frame_t none = {NULL, 0, 0, 0};
        return vision->is_captured ? vision->captured : none;
    }
    if ((uint64_t)frame.width_px * frame.height_px * 2u > vision->frame_bytes) {
        frame.pixels = NULL;
    }
    return frame;
}

service_status_t request_infer_camera(service_t *service, const protocol_frame_t *request) {
    service_vision_t *const vision = &service->vision;
    if (request->payload[0] == 1 && vision->frame == NULL) {
        return STATUS_UNSUPPORTED;
    }
    const camera_frame_t frame = named_frame(vision, request->payload);
    if (frame.pixels == NULL) {
        return STATUS_RANGE;
    }
    const uint32_t size_bytes = 2u * frame.width_px * frame.height_px;
    if (protocol_crc32(0, frame.pixels, size_bytes) != protocol_get_u32(request->payload + 14)) {
        return STATUS_INPUT_DIFFERS;
    }
    cover_t cover;
    const uint32_t start_cycles = port_cycles();
    const vision_status_t status =
        vision_see(&vision->driving.vision, service->net, &frame, vision->driving.mask, &cover);
    const uint32_t cycles = port_cycles() - start_cycles;
    if (status != VISION_OK) {
        answer_u8(service, NANOU_ERROR_RUNTIME);
        return status == VISION_ERROR_FRAME ? STATUS_RANGE : STATUS_MODEL_FAILED;
    }
    uint8_t bytes[8 + 16];
    const decision_t decision = navigation_judge(&navigation_default_policy, cover);
    put_decision(bytes, &decision);
    put_stages(bytes + 8, 0, &vision->driving.vision.times);
    answer_u8(service, request->payload[0]);
    answer_u32(service, protocol_crc32(0, vision->driving.mask, MASK_BYTES));
    answer_u32(service, MASK_BYTES);
    answer_u32(service, vision->driving.vision.times.total_us);
    answer_u32(service, cycles);
    answer_bytes(service, bytes, sizeof bytes);
    return STATUS_OK;
}

/* ---- Driving ----------------------------------------------------------------------------------- */

void vision_begin(service_t *service, uint8_t *frame, uint32_t frame_bytes) {
    service_vision_t *const vision = &service->vision;
    camera_frame_t first;
    const int taken = port_camera_take(&first);
    if (taken == PORT_CAMERA_OK) {
        port_camera_give();
    }
    vision->has_camera = taken != PORT_CAMERA_NONE;
    vision->frame = frame;
    vision->frame_bytes = frame == NULL ? 0 : frame_bytes;
    driving_begin(&vision->driving, service->net, service_is_proven(service), observe, service);
}

void vision_yield(service_t *service, uint8_t request_type, const protocol_frame_t *request) {
    service_vision_t *const vision = &service->vision;
    const int computes = request_type == REQUEST_INFER || request_type == REQUEST_GOLDEN ||
                         request_type == REQUEST_BENCH || request_type == REQUEST_CAPTURE;
    const int of_captured =
        request_type == REQUEST_INFER && request->payload_bytes > 0 && request->payload[0] == 2;
    vision->used_us = port_time_us();
    if (vision->has_driven) {
        driving_pause(&vision->driving);
        vision->has_driven = 0;
    }
    if (computes && !of_captured) {
        release(vision);
    }
}

int service_drive(service_t *service) {
    service_vision_t *const vision = &service->vision;
    const uint64_t idle_us = port_time_us() - vision->used_us;
    if (vision->is_captured && idle_us > HOLD_US) {
        release(vision);
    }
    if (!vision->has_camera || vision->is_captured || (vision->used_us != 0 && idle_us < PAUSE_US)) {
        return 0;
    }
    vision->driving.is_proven = service_is_proven(service) != 0;
    vision->has_driven = 1;
    return driving_turn(&vision->driving) == DRIVING_OK;
}
