/* service_requests.c - the requests that do not run the model: INFO, WRITE, READ. */
#include "service_requests.h"

#include <string.h>

/* ---- Description ------------------------------------------------------------------------------- */

static uint32_t hex_digit(char digit) {
    return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void model_hash(uint8_t *bytes, uint32_t count) {
    const char *text = nanou_get_info()->model_sha256;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
}

static void answer_shape(service_t *service, const nanou_tensor_info_t *tensor) {
    answer_u16(service, tensor->height_px);
    answer_u16(service, tensor->width_px);
    answer_u16(service, tensor->channels);
}

static void answer_quantization(service_t *service, const nanou_tensor_info_t *tensor) {
    uint32_t scale_bits;
    memcpy(&scale_bits, &tensor->scale, sizeof scale_bits);
    answer_u32(service, scale_bits);
    answer_u32(service, (uint32_t)tensor->zero_point);
}

static uint32_t features(const service_t *service) {
    uint32_t bits = (port_cycles() != 0 ? 2u : 0u) | (profile_layers() > 0 ? 8u : 0u);
#ifndef NANOU_NO_VISION
    bits |= (service->vision.has_camera ? 1u : 0u) | 4u;
#else
    (void)service;
#endif
    return bits;
}

static uint32_t frame_room_bytes(const service_t *service) {
#ifndef NANOU_NO_VISION
    return service->vision.frame_bytes;
#else
    (void)service;
    return 0;
#endif
}

static void answer_numbers(service_t *service) {
    const nanou_info_t *info = nanou_get_info();
    const port_memory_t memory = port_memory();
    const uint64_t uptime_us = port_time_us();
    uint8_t hash[32];
    model_hash(hash, sizeof hash);
    answer_u8(service, !service->self_tested ? 0u : service_is_proven(service) ? 1u : 2u);
    answer_u8(service, features(service));
    answer_u8(service, info->api_version);
    answer_bytes(service, hash, sizeof hash);
    answer_shape(service, &info->input);
    answer_shape(service, &info->output);
    answer_quantization(service, &info->input);
    answer_quantization(service, &info->output);
    answer_u32(service, (uint32_t)info->threshold_q);
    answer_u32(service, info->arena_bytes);
    answer_u32(service, info->working_bytes);
    answer_u32(service, info->macs);
    answer_u32(service, frame_room_bytes(service));
    answer_u32(service, memory.stack_free_bytes);
    answer_u32(service, memory.heap_free_bytes);
    answer_u32(service, memory.heap_least_bytes);
    answer_u32(service, (uint32_t)uptime_us);
    answer_u32(service, (uint32_t)(uptime_us >> 32));
    answer_u32(service, service->reader.damaged);
    answer_u16(service, profile_layers());
}

/* What built this; the build passes its flags where it knows them. */
static const char *build_text(void) {
#ifndef NANOU_BUILD_FLAGS
#define NANOU_BUILD_FLAGS flags not known
#endif
#define TEXT(...)       TEXT_AS_IS(__VA_ARGS__)
#define TEXT_AS_IS(...) #__VA_ARGS__
#if defined(__clang__)
    return "clang " __clang_version__ ", " TEXT(NANOU_BUILD_FLAGS);
#elif defined(__GNUC__)
    return "gcc " __VERSION__ ", " TEXT(NANOU_BUILD_FLAGS);
#else
    return "unknown compiler, " TEXT(NANOU_BUILD_FLAGS);
#endif
}

service_status_t request_info(service_t *service, const protocol_frame_t *request) {
    const nanou_info_t *info = nanou_get_info();
    if (request->payload_bytes != 1) {
        return STATUS_MALFORMED;
    }
    const uint8_t page = request->payload[0];
    answer_u8(service, page);
    switch (page) {
    case 0:
        answer_numbers(service);
        return STATUS_OK;
    case 1:
        answer_text(service, port_board());
        return STATUS_OK;
    case 2:
        answer_text(service, info->runtime);
        return STATUS_OK;
    case 3:
        answer_text(service, info->model_name);
        return STATUS_OK;
    case 4:
        answer_text(service, build_text());
        return STATUS_OK;
    case 5:
        answer_text(service, port_reset_reason());
        return STATUS_OK;
    default:
        return STATUS_RANGE;
    }
}

/* ---- Buffers ----------------------------------------------------------------------------------- */

typedef struct buffer {
    const uint8_t *bytes; /* NULL where there is none */
    uint8_t *writable;    /* NULL where the host may not write */
    uint32_t size_bytes;
} buffer_t;

static buffer_t find_buffer(const service_t *service, uint8_t number) {
    buffer_t buffer = {NULL, NULL, 0};
    switch (number) {
    case BUFFER_INPUT:
        buffer.writable = (uint8_t *)nanou_input(service->net);
        buffer.bytes = buffer.writable;
        buffer.size_bytes = NANOU_INPUT_BYTES;
        break;
    case BUFFER_OUTPUT:
        buffer.bytes = (const uint8_t *)nanou_output(service->net);
        buffer.size_bytes = NANOU_OUTPUT_BYTES;
        break;
#ifndef NANOU_NO_VISION
    case BUFFER_FRAME:
        if (service->vision.is_captured) {
            const camera_frame_t *const frame = &service->vision.captured;
            buffer.bytes = frame->pixels;
            buffer.size_bytes = 2u * frame->width_px * frame->height_px;
        } else {
            buffer.writable = service->vision.frame;
            buffer.bytes = buffer.writable;
            buffer.size_bytes = service->vision.frame_bytes;
        }
        break;
    case BUFFER_MASK:
        buffer.bytes = service->vision.driving.mask;
        buffer.size_bytes = MASK_BYTES;
        break;
#endif
    default:
        break;
    }
    return buffer;
}

static int is_inside(uint32_t offset, uint32_t count, uint32_t size_bytes) {
    return count > 0 && offset < size_bytes && count <= size_bytes - offset;
}

service_status_t request_write(service_t *service, const protocol_frame_t *request) {
    if (request->payload_bytes < 6) {
        return STATUS_MALFORMED;
    }
    const buffer_t buffer = find_buffer(service, request->payload[0]);
    const uint32_t offset = protocol_get_u32(request->payload + 1);
    const uint32_t count = request->payload_bytes - 5;
    if (buffer.writable == NULL || !is_inside(offset, count, buffer.size_bytes)) {
        return STATUS_RANGE;
    }
    memcpy(buffer.writable + offset, request->payload + 5, count);
    answer_bytes(service, request->payload, 5);
    answer_u16(service, count);
    return STATUS_OK;
}

service_status_t request_read(service_t *service, const protocol_frame_t *request) {
    if (request->payload_bytes != 7) {
        return STATUS_MALFORMED;
    }
    const buffer_t buffer = find_buffer(service, request->payload[0]);
    const uint32_t offset = protocol_get_u32(request->payload + 1);
    const uint32_t count = protocol_get_u16(request->payload + 5);
    const uint32_t limit = PROTOCOL_PAYLOAD_BYTES - 5;
    if (buffer.bytes == NULL || count > limit || !is_inside(offset, count, buffer.size_bytes)) {
        return STATUS_RANGE;
    }
    answer_bytes(service, request->payload, 5);
    answer_bytes(service, buffer.bytes + offset, count);
    return STATUS_OK;
}
