#include "device_requests.h"

#include <string.h>

/* ---- Description ------------------------------------------------------------------------------- */

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
    answer_u8(session, APP_MODEL->input_count);
    answer_u8(session, APP_MODEL->output_count);
    answer_u32(session, (uint32_t)APP_MODEL->threshold_q);
    answer_u32(session, APP_MODEL->arena_bytes);
    answer_u32(session, APP_MODEL->working_bytes);
    answer_u32(session, APP_MODEL->state_bytes);
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

/* Tensor `number`: inputs come first, then outputs. */
static answer_status_t answer_tensor(session_t *session, uint32_t number) {
    const uint32_t inputs = APP_MODEL->input_count;
    if (number >= inputs + APP_MODEL->output_count) {
        return STATUS_RANGE;
    }
    const nanou_tensor_t *const tensor =
        number < inputs ? &APP_MODEL->inputs[number] : &APP_MODEL->outputs[number - inputs];
    uint32_t scale_bits;
    memcpy(&scale_bits, &tensor->scale, sizeof scale_bits);
    answer_u8(session, number);
    answer_u8(session, (uint32_t)tensor->dtype);
    answer_u8(session, tensor->rank);
    answer_u32(session, tensor->size_bytes);
    answer_u32(session, scale_bits);
    answer_u32(session, (uint32_t)tensor->zero_point);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        answer_u32(session, tensor->dims[i]);
    }
    answer_text(session, tensor->name);
    return STATUS_OK;
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
    const uint8_t page = request->payload_bytes > 0 ? request->payload[INFO_PAGE_AT] : PAGE_NUMBERS;
    if (request->payload_bytes != (page == PAGE_TENSOR ? INFO_TENSOR_BYTES : INFO_BYTES)) {
        return STATUS_MALFORMED;
    }
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
    case PAGE_TENSOR:
        return answer_tensor(session, request->payload[INFO_TENSOR_AT]);
    default:
        return STATUS_RANGE;
    }
}

/* ---- Buffers ----------------------------------------------------------------------------------- */

static const buffer_t no_buffer = {NULL, NULL, 0};

static buffer_t named_buffer(const session_t *session, uint32_t buffer, uint32_t number) {
    if (buffer == BUFFER_INPUT && number < APP_MODEL->input_count) {
        uint8_t *const bytes = (uint8_t *)nanou_input(session->net, number);
        return (buffer_t){bytes, bytes, APP_MODEL->inputs[number].size_bytes};
    }
    if (buffer == BUFFER_OUTPUT && number < APP_MODEL->output_count) {
        const uint8_t *const bytes = (const uint8_t *)nanou_output(session->net, number);
        return (buffer_t){bytes, NULL, APP_MODEL->outputs[number].size_bytes};
    }
    if (number == 0 && (buffer == BUFFER_FRAME || buffer == BUFFER_MASK)) {
        return buffer == BUFFER_FRAME ? session->frame : session->mask;
    }
    return no_buffer;
}

/* The buffer that WRITE and READ name, from their offset on, where it has `count` bytes there; else
 * no_buffer. */
static buffer_t find_bytes(const session_t *session, const uint8_t *payload, uint32_t count) {
    const buffer_t buffer = named_buffer(session, payload[PIECE_BUFFER_AT], payload[PIECE_NUMBER_AT]);
    const uint32_t offset = protocol_get_u32(payload + PIECE_OFFSET_AT);
    if (buffer.bytes == NULL || count == 0 || offset >= buffer.size_bytes ||
        count > buffer.size_bytes - offset) {
        return no_buffer;
    }
    uint8_t *const writable = buffer.writable == NULL ? NULL : buffer.writable + offset;
    return (buffer_t){buffer.bytes + offset, writable, count};
}

answer_status_t request_write(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes <= PIECE_HEAD_BYTES) {
        return STATUS_MALFORMED;
    }
    const uint32_t count = request->payload_bytes - PIECE_HEAD_BYTES;
    const buffer_t found = find_bytes(session, request->payload, count);
    if (found.writable == NULL) {
        return STATUS_RANGE;
    }
    memcpy(found.writable, request->payload + PIECE_HEAD_BYTES, count);
    answer_bytes(session, request->payload, PIECE_HEAD_BYTES);
    answer_u16(session, count);
    return STATUS_OK;
}

answer_status_t request_read(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != READ_BYTES) {
        return STATUS_MALFORMED;
    }
    const uint32_t count = protocol_get_u16(request->payload + READ_COUNT_AT);
    const buffer_t found = find_bytes(session, request->payload, count);
    if (found.bytes == NULL || count > PROTOCOL_PAYLOAD_BYTES - PIECE_HEAD_BYTES) {
        return STATUS_RANGE;
    }
    answer_bytes(session, request->payload, PIECE_HEAD_BYTES);
    answer_bytes(session, found.bytes, count);
    return STATUS_OK;
}
