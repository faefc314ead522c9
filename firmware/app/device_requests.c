#include "device_requests.h"

#include <string.h>

/* ---- Description ------------------------------------------------------------------------------- */

/* Height, width and channels of an image; of any other shape 1, 1 and the number of values. */
static void answer_shape(session_t *session, const nanou_tensor_t *tensor) {
    const int is_image = tensor->rank == 4u && tensor->dims[0] == 1u;
    answer_u16(session, is_image ? tensor->dims[1] : 1u);
    answer_u16(session, is_image ? tensor->dims[2] : 1u);
    answer_u16(session, is_image ? tensor->dims[3] : tensor->size_bytes);
}

static void answer_quantization(session_t *session, const nanou_tensor_t *tensor) {
    uint32_t scale_bits;
    memcpy(&scale_bits, &tensor->scale, sizeof scale_bits);
    answer_u32(session, scale_bits);
    answer_u32(session, (uint32_t)tensor->zero_point);
}

static void answer_numbers(session_t *session) {
    const port_memory_t memory = port_memory();
    const uint64_t uptime_us = port_time_us();
    uint8_t hash[MODEL_SHA256_BYTES];
    session_model_hash(hash, sizeof hash);
    const uint32_t tested = session_is_proven(session) ? SELF_TEST_PASSED : SELF_TEST_FAILED;
    answer_u8(session, session->self_tested ? tested : SELF_TEST_NOT_RUN);
    answer_u8(session, session->features);
    answer_u8(session, NANOU_API_VERSION);
    answer_bytes(session, hash, sizeof hash);
    answer_shape(session, &APP_MODEL->inputs[0]);
    answer_shape(session, &APP_MODEL->outputs[0]);
    answer_quantization(session, &APP_MODEL->inputs[0]);
    answer_quantization(session, &APP_MODEL->outputs[0]);
    answer_u32(session, (uint32_t)APP_MODEL->threshold_q);
    answer_u32(session, APP_MODEL->arena_bytes);
    answer_u32(session, APP_MODEL->working_bytes);
    answer_u32(session, APP_MODEL->macs);
    answer_u32(session, session->host_frame_bytes);
    answer_u32(session, memory.stack_free_bytes);
    answer_u32(session, memory.heap_free_bytes);
    answer_u32(session, memory.heap_least_bytes);
    answer_u32(session, (uint32_t)uptime_us);
    answer_u32(session, (uint32_t)(uptime_us >> 32));
    answer_u32(session, session->reader.damaged);
    answer_u16(session, profile_layers());
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

answer_status_t request_info(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != INFO_BYTES) {
        return STATUS_MALFORMED;
    }
    const uint8_t page = request->payload[INFO_PAGE_AT];
    answer_u8(session, page);
    switch (page) {
    case PAGE_NUMBERS:
        answer_numbers(session);
        return STATUS_OK;
    case PAGE_BOARD:
        answer_text(session, port_board());
        return STATUS_OK;
    case PAGE_RUNTIME:
        answer_text(session, APP_MODEL->runtime);
        return STATUS_OK;
    case PAGE_MODEL:
        answer_text(session, APP_MODEL->name);
        return STATUS_OK;
    case PAGE_BUILD:
        answer_text(session, build_text());
        return STATUS_OK;
    case PAGE_RESET_REASON:
        answer_text(session, port_reset_reason());
        return STATUS_OK;
    default:
        return STATUS_RANGE;
    }
}

/* ---- Buffers ----------------------------------------------------------------------------------- */

/* The bytes that WRITE and READ name, of a buffer that has so many there; NULL where it has not. */
static const buffer_t *find_buffer(const session_t *session, const uint8_t *payload, uint32_t count) {
    const uint32_t number = payload[PIECE_BUFFER_AT];
    const uint32_t offset = protocol_get_u32(payload + PIECE_OFFSET_AT);
    if (number >= BUFFERS) {
        return NULL;
    }
    const buffer_t *const buffer = &session->buffers[number];
    const int is_inside = count > 0 && offset < buffer->size_bytes && count <= buffer->size_bytes - offset;
    return is_inside ? buffer : NULL;
}

answer_status_t request_write(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes <= PIECE_HEAD_BYTES) {
        return STATUS_MALFORMED;
    }
    const uint32_t count = request->payload_bytes - PIECE_HEAD_BYTES;
    const buffer_t *const buffer = find_buffer(session, request->payload, count);
    if (buffer == NULL || buffer->writable == NULL) {
        return STATUS_RANGE;
    }
    memcpy(buffer->writable + protocol_get_u32(request->payload + PIECE_OFFSET_AT),
           request->payload + PIECE_HEAD_BYTES, count);
    answer_bytes(session, request->payload, PIECE_HEAD_BYTES);
    answer_u16(session, count);
    return STATUS_OK;
}

answer_status_t request_read(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != READ_BYTES) {
        return STATUS_MALFORMED;
    }
    const uint32_t count = protocol_get_u16(request->payload + READ_COUNT_AT);
    const buffer_t *const buffer = find_buffer(session, request->payload, count);
    if (buffer == NULL || buffer->bytes == NULL || count > PROTOCOL_PAYLOAD_BYTES - PIECE_HEAD_BYTES) {
        return STATUS_RANGE;
    }
    answer_bytes(session, request->payload, PIECE_HEAD_BYTES);
    answer_bytes(session, buffer->bytes + protocol_get_u32(request->payload + PIECE_OFFSET_AT), count);
    return STATUS_OK;
}
