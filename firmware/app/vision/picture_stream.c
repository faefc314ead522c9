#include "vision/picture_stream.h"

#include <string.h>

#define SEND_LIMIT_US 1000000u
#define PIECE_BYTES   (PROTOCOL_PAYLOAD_BYTES - PICTURE_PIECE_AT)

/* ---- The picture, shrunk ----------------------------------------------------------------------- */

uint32_t picture_bytes(const camera_frame_t *frame) {
    return 2u * frame->width_px * frame->height_px;
}

/* Pixels along an edge of which every n-th is sent. */
static uint32_t shrunk(uint32_t extent_px, uint32_t shrink) {
    return shrink == 0 ? 0 : (extent_px + shrink - 1u) / shrink;
}

/* Bytes `offset` .. of the shrunk picture. */
static void copy_pixels(const camera_frame_t *frame, uint32_t shrink, uint32_t offset, uint8_t *bytes,
                        uint32_t count) {
    const uint32_t row_bytes = 2u * shrunk(frame->width_px, shrink);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t y = (offset + i) / row_bytes * shrink;
        const uint32_t x = (offset + i) % row_bytes / 2u * shrink;
        bytes[i] = frame->pixels[2u * (y * frame->width_px + x) + ((offset + i) & 1u)];
    }
}

static uint32_t shrunk_bytes(const camera_frame_t *frame, uint32_t shrink) {
    return 2u * shrunk(frame->width_px, shrink) * shrunk(frame->height_px, shrink);
}

static uint32_t shrunk_crc32(const camera_frame_t *frame, uint32_t shrink) {
    uint8_t bytes[64];
    const uint32_t size_bytes = shrunk_bytes(frame, shrink);
    uint32_t crc32 = 0;
    for (uint32_t offset = 0; offset < size_bytes; offset += sizeof bytes) {
        const uint32_t rest = size_bytes - offset;
        const uint32_t count = rest < sizeof bytes ? rest : (uint32_t)sizeof bytes;
        copy_pixels(frame, shrink, offset, bytes, count);
        crc32 = protocol_crc32(crc32, bytes, count);
    }
    return crc32;
}

/* ---- Events ------------------------------------------------------------------------------------ */

void picture_put_decision(uint8_t *bytes, const decision_t *decision) {
    bytes[DECISION_GO_AT] = (uint8_t)decision->go;
    bytes[DECISION_STEER_AT] = (uint8_t)decision->steer;
    protocol_put_u16(bytes + DECISION_LEFT_AT, decision->cover.left_permille);
    protocol_put_u16(bytes + DECISION_CENTRE_AT, decision->cover.centre_permille);
    protocol_put_u16(bytes + DECISION_RIGHT_AT, decision->cover.right_permille);
}

void picture_put_stages(uint8_t *bytes, uint32_t capture_us, const vision_times_t *times) {
    protocol_put_u32(bytes + STAGES_CAPTURE_AT, capture_us);
    protocol_put_u32(bytes + STAGES_PREPROCESSING_AT, times->preprocessing_us);
    protocol_put_u32(bytes + STAGES_MODEL_AT, times->model_us);
    protocol_put_u32(bytes + STAGES_MASK_AT, times->mask_us);
}

static int send_head(session_t *session, uint32_t shrink, const driving_t *driving,
                     const camera_frame_t *frame, uint8_t *event) {
    event[PICTURE_KIND_AT] = PICTURE_HEAD;
    protocol_put_u16(event + HEAD_MASK_WIDTH_AT, MASK_WIDTH_PX);
    protocol_put_u16(event + HEAD_MASK_HEIGHT_AT, MASK_HEIGHT_PX);
    protocol_put_u32(event + HEAD_MASK_CRC32_AT, protocol_crc32(0, driving->mask, MASK_BYTES));
    picture_put_decision(event + HEAD_DECISION_AT, &driving->decision);
    protocol_put_u16(event + HEAD_FPS_TENTHS_AT, (uint16_t)statistics_fps_tenths(&driving->statistics));
    protocol_put_u16(event + HEAD_WIDTH_AT, (uint16_t)shrunk(frame->width_px, shrink));
    protocol_put_u16(event + HEAD_HEIGHT_AT, (uint16_t)shrunk(frame->height_px, shrink));
    event[HEAD_BIG_ENDIAN_AT] = frame->big_endian;
    protocol_put_u32(event + HEAD_CRC32_AT, shrink == 0 ? 0 : shrunk_crc32(frame, shrink));
    picture_put_stages(event + HEAD_STAGES_AT, statistics_capture_us(&driving->statistics),
                       &driving->vision.times);
    return session_send_event(session, EVENT_STREAM, event, HEAD_BYTES);
}

/* All of it, or as much as the line takes in time. */
static void send_picture(session_t *session, uint32_t shrink, const driving_t *driving,
                         const camera_frame_t *frame, uint8_t *event) {
    const uint32_t size_bytes[2] = {MASK_BYTES, shrunk_bytes(frame, shrink)};
    const uint64_t start_us = port_time_us();
    int gone = send_head(session, shrink, driving, frame, event);
    for (uint32_t part = 0; part < 2u; part++) {
        event[PICTURE_KIND_AT] = (uint8_t)(part == 0 ? PICTURE_MASK : PICTURE_PIXELS);
        for (uint32_t offset = 0; offset < size_bytes[part] && !gone; offset += PIECE_BYTES) {
            const uint32_t rest = size_bytes[part] - offset;
            const uint32_t count = rest < PIECE_BYTES ? rest : PIECE_BYTES;
            protocol_put_u32(event + PICTURE_OFFSET_AT, offset);
            if (part == 0) {
                memcpy(event + PICTURE_PIECE_AT, driving->mask + offset, count);
            } else {
                copy_pixels(frame, shrink, offset, event + PICTURE_PIECE_AT, count);
            }
            gone = session_send_event(session, EVENT_STREAM, event, PICTURE_PIECE_AT + count) != 0 ||
                   port_time_us() - start_us > SEND_LIMIT_US;
        }
    }
}

void picture_stream_send(picture_stream_t *stream, session_t *session, const driving_t *driving,
                         const camera_frame_t *frame) {
    uint8_t event[PROTOCOL_PAYLOAD_BYTES];
    const uint64_t now_us = port_time_us();
    stream->is_on = stream->is_on && now_us < stream->ends_us;
    if (!stream->is_on || now_us < stream->next_us) {
        return;
    }
    stream->next_us = now_us + stream->interval_us;
    protocol_put_u32(event + PICTURE_NUMBER_AT, stream->pictures++);
    send_picture(session, stream->shrink, driving, frame, event);
}
