#include "vision/picture_requests.h"

#include "model_requests.h"

#define PAUSE_US      2000000u /* from the host's last use of the model until driving goes on */
#define HOLD_US       3000000u /* a captured picture that nobody reads is given back */
#define LEASE_LIMIT_S 60u

static int has_camera(const pictures_t *pictures) {
    return (pictures->session->features & FEATURE_CAMERA) != 0;
}

/* ---- The buffer FRAME -------------------------------------------------------------------------- */

static void show_host_frame(pictures_t *pictures) {
    session_t *const session = pictures->session;
    session->frame = (buffer_t){pictures->host_frame, pictures->host_frame, session->host_frame_bytes};
}

static answer_status_t capture(pictures_t *pictures) {
    const int taken = port_camera_take(&pictures->captured);
    if (taken != PORT_CAMERA_OK) {
        return taken == PORT_CAMERA_NONE ? STATUS_UNSUPPORTED : STATUS_CAMERA_FAILED;
    }
    pictures->is_captured = 1;
    pictures->session->frame =
        (buffer_t){pictures->captured.pixels, NULL, picture_bytes(&pictures->captured)};
    return STATUS_OK;
}

static void release(pictures_t *pictures) {
    if (pictures->is_captured) {
        pictures->is_captured = 0;
        port_camera_give();
        show_host_frame(pictures);
    }
}

/* ---- Requests ---------------------------------------------------------------------------------- */

answer_status_t request_capture(pictures_t *pictures, const protocol_frame_t *request) {
    session_t *const session = pictures->session;
    const camera_frame_t *const frame = &pictures->captured;
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    release(pictures);
    const answer_status_t status = capture(pictures);
    if (status != STATUS_OK) {
        return status;
    }
    answer_u16(session, frame->width_px);
    answer_u16(session, frame->height_px);
    answer_u8(session, frame->big_endian);
    answer_u32(session, picture_bytes(frame));
    answer_u32(session, protocol_crc32(0, frame->pixels, picture_bytes(frame)));
    return STATUS_OK;
}

/* The frame that INFER names, of the host or captured; its pixels are NULL where there is none. */
static camera_frame_t named_frame(const pictures_t *pictures, const uint8_t *payload) {
    const camera_frame_t none = {NULL, 0, 0, 0};
    if (payload[INFER_SOURCE_AT] == SOURCE_CAPTURED) {
        return pictures->is_captured ? pictures->captured : none;
    }
    const camera_frame_t frame = {
        .pixels = pictures->host_frame,
        .width_px = protocol_get_u16(payload + INFER_WIDTH_AT),
        .height_px = protocol_get_u16(payload + INFER_HEIGHT_AT),
        .big_endian = payload[INFER_BIG_ENDIAN_AT],
    };
    const uint64_t pixels = (uint64_t)frame.width_px * frame.height_px;
    return 2u * pixels <= pictures->session->host_frame_bytes ? frame : none;
}

static void answer_picture(pictures_t *pictures, uint8_t source, const decision_t *decision,
                           uint32_t cycles) {
    uint8_t bytes[DECISION_BYTES + STAGES_BYTES];
    session_t *const session = pictures->session;
    const vision_times_t *const times = &pictures->driving.vision.times;
    picture_put_decision(bytes, decision);
    picture_put_stages(bytes + DECISION_BYTES, 0, times);
    answer_u8(session, source);
    answer_u32(session, protocol_crc32(0, pictures->driving.mask, MASK_BYTES));
    answer_u32(session, MASK_BYTES);
    answer_u32(session, times->total_us);
    answer_u32(session, cycles);
    answer_bytes(session, bytes, sizeof bytes);
}

/* Finds the frame that INFER or REHEARSE names, as it arrived. */
static answer_status_t find_frame(const pictures_t *pictures, const uint8_t *payload, camera_frame_t *frame) {
    if (payload[INFER_SOURCE_AT] == SOURCE_HOST_FRAME && pictures->host_frame == NULL) {
        return STATUS_UNSUPPORTED;
    }
    *frame = named_frame(pictures, payload);
    if (frame->pixels == NULL) {
        return STATUS_RANGE;
    }
    const uint32_t crc32 = protocol_crc32(0, frame->pixels, picture_bytes(frame));
    return crc32 == protocol_get_u32(payload + INFER_CRC32_AT) ? STATUS_OK : STATUS_INPUT_DIFFERS;
}

answer_status_t request_infer_frame(pictures_t *pictures, const protocol_frame_t *request) {
    session_t *const session = pictures->session;
    camera_frame_t frame;
    const answer_status_t found = find_frame(pictures, request->payload, &frame);
    if (found != STATUS_OK) {
        return found;
    }
    driving_t *const driving = &pictures->driving;
    cover_t cover;
    const uint32_t start_cycles = port_cycles();
    const vision_status_t status = vision_see(&driving->vision, session->net, &frame, driving->mask, &cover);
    const uint32_t cycles = port_cycles() - start_cycles;
    if (status != VISION_OK) {
        answer_u8(session, NANOU_ERROR_RUNTIME);
        return status == VISION_ERROR_FRAME ? STATUS_RANGE : STATUS_MODEL_FAILED;
    }
    const decision_t decision = navigation_judge(&driving->policy, cover);
    answer_picture(pictures, request->payload[INFER_SOURCE_AT], &decision, cycles);
    return STATUS_OK;
}

answer_status_t request_rehearse(pictures_t *pictures, const protocol_frame_t *request) {
    session_t *const session = pictures->session;
    camera_frame_t frame;
    if ((session->features & FEATURE_REHEARSAL) == 0) {
        return STATUS_UNSUPPORTED; /* a host's pictures move no motors */
    }
    const answer_status_t checked = check_infer(request);
    if (checked != STATUS_OK || request->payload[INFER_SOURCE_AT] != SOURCE_HOST_FRAME) {
        return checked != STATUS_OK ? checked : STATUS_RANGE;
    }
    const answer_status_t found = find_frame(pictures, request->payload, &frame);
    if (found != STATUS_OK) {
        return found;
    }
    driving_t *const driving = &pictures->driving;
    driving->is_proven = session_is_proven(session) != 0;
    pictures->has_rehearsed = 1;
    const uint32_t start_cycles = port_cycles();
    const driving_fault_t fault = driving_see(driving, &frame, port_time_us(), 0);
    const uint32_t cycles = port_cycles() - start_cycles;
    if (fault == DRIVING_OK || fault == DRIVING_STALE) {
        answer_picture(pictures, SOURCE_HOST_FRAME, &driving->decision, cycles);
        return STATUS_OK;
    }
    answer_u8(session, NANOU_ERROR_RUNTIME);
    return fault == DRIVING_UNPROVEN      ? STATUS_UNPROVEN
           : fault == DRIVING_WRONG_FRAME ? STATUS_RANGE
                                          : STATUS_MODEL_FAILED;
}

answer_status_t request_stream(pictures_t *pictures, const protocol_frame_t *request) {
    picture_stream_t *const stream = &pictures->stream;
    const uint8_t *const payload = request->payload;
    if (request->payload_bytes != STREAM_BYTES) {
        return STATUS_MALFORMED;
    }
    if (!has_camera(pictures)) {
        return STATUS_UNSUPPORTED;
    }
    if (!session_is_proven(pictures->session) && payload[STREAM_ON_AT]) {
        return STATUS_UNPROVEN; /* nothing is judged, so nothing would come */
    }
    const uint32_t lease_s = protocol_get_u16(payload + STREAM_LEASE_AT);
    const uint32_t granted_s = lease_s < LEASE_LIMIT_S ? lease_s : LEASE_LIMIT_S;
    stream->is_on = payload[STREAM_ON_AT] != 0;
    stream->shrink = payload[STREAM_SHRINK_AT];
    stream->interval_us = protocol_get_u16(payload + STREAM_INTERVAL_AT) * 1000u;
    stream->ends_us = port_time_us() + granted_s * 1000000u;
    stream->next_us = 0;
    if (stream->is_on) {
        release(pictures);
        pictures->used_us = 0; /* go on at once */
    }
    answer_bytes(pictures->session, payload, STREAM_LEASE_AT);
    answer_u16(pictures->session, granted_s);
    return STATUS_OK;
}

/* ---- Driving ----------------------------------------------------------------------------------- */

static void observe(void *user, const driving_t *driving, const camera_frame_t *frame) {
    pictures_t *const pictures = (pictures_t *)user;
    picture_stream_send(&pictures->stream, pictures->session, driving, frame);
}

void pictures_begin(pictures_t *pictures, session_t *session, uint8_t *frame, uint32_t frame_bytes) {
    camera_frame_t first;
    const int taken = port_camera_take(&first);
    if (taken == PORT_CAMERA_OK) {
        port_camera_give();
    }
    pictures->session = session;
    pictures->host_frame = frame;
    session->features |=
        (uint8_t)(FEATURE_VISION | FEATURE_TUNING | (taken != PORT_CAMERA_NONE ? FEATURE_CAMERA : 0) |
                  (port_motors_are_recorded && frame != NULL ? FEATURE_REHEARSAL : 0));
    session->host_frame_bytes = frame == NULL ? 0 : frame_bytes;
    session->mask = (buffer_t){pictures->driving.mask, NULL, MASK_BYTES};
    show_host_frame(pictures);
    driving_begin(&pictures->driving, session->net, session_is_proven(session), observe, pictures);
}

void pictures_pause(pictures_t *pictures, const protocol_frame_t *request) {
    const uint8_t type = request->header.type;
    const int computes =
        type == REQUEST_INFER || type == REQUEST_GOLDEN || type == REQUEST_BENCH || type == REQUEST_CAPTURE;
    const int of_captured = type == REQUEST_INFER && request->payload_bytes > INFER_SOURCE_AT &&
                            request->payload[INFER_SOURCE_AT] == SOURCE_CAPTURED;
    pictures->used_us = port_time_us();
    if (pictures->has_driven || (pictures->has_rehearsed && computes)) {
        driving_pause(&pictures->driving, STOP_HOST);
        pictures->has_driven = pictures->has_rehearsed = 0;
    }
    if (computes && !of_captured) {
        release(pictures);
    }
}

int pictures_drive(pictures_t *pictures) {
    const uint64_t idle_us = port_time_us() - pictures->used_us;
    if (pictures->is_captured && idle_us > HOLD_US) {
        release(pictures);
    }
    if (!has_camera(pictures) || pictures->is_captured || (pictures->used_us != 0 && idle_us < PAUSE_US)) {
        return 0;
    }
    pictures->driving.is_proven = session_is_proven(pictures->session) != 0;
    pictures->has_driven = 1;
    pictures->has_rehearsed = 0;
    return driving_turn(&pictures->driving) == DRIVING_OK;
}
