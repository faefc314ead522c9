#include "model_requests.h"

#include <string.h>

/* ---- Inference --------------------------------------------------------------------------------- */

typedef struct measured {
    nanou_status_t status;
    uint32_t time_us;
    uint32_t cycles;
} measured_t;

static measured_t invoke_measured(nanou_t *net) {
    measured_t result;
    const uint64_t start_us = port_time_us();
    const uint32_t start_cycles = port_cycles();
    result.status = nanou_invoke(net);
    result.cycles = port_cycles() - start_cycles;
    result.time_us = (uint32_t)(port_time_us() - start_us);
    return result;
}

static answer_status_t model_failed(session_t *session, nanou_status_t status) {
    session->answer.payload_bytes = 0;
    answer_u8(session, (uint32_t)status);
    return STATUS_MODEL_FAILED;
}

static int is_this_model(const uint8_t *prefix) {
    uint8_t hash[MODEL_PREFIX_BYTES];
    session_model_hash(hash, sizeof hash);
    return memcmp(hash, prefix, sizeof hash) == 0;
}

answer_status_t check_infer(const protocol_frame_t *request) {
    if (request->payload_bytes != INFER_BYTES) {
        return STATUS_MALFORMED;
    }
    if (request->payload[INFER_SOURCE_AT] >= SOURCES) {
        return STATUS_RANGE;
    }
    return is_this_model(request->payload + INFER_MODEL_AT) ? STATUS_OK : STATUS_STALE_MODEL;
}

/* Of all inputs, one behind the other. */
static uint32_t inputs_crc32(const nanou_t *net) {
    uint32_t crc32 = 0;
    for (uint32_t i = 0; i < APP_MODEL->input_count; i++) {
        crc32 = protocol_crc32(crc32, nanou_input(net, i), APP_MODEL->inputs[i].size_bytes);
    }
    return crc32;
}

static uint32_t outputs_bytes(void) {
    uint32_t size_bytes = 0;
    for (uint32_t i = 0; i < APP_MODEL->output_count; i++) {
        size_bytes += APP_MODEL->outputs[i].size_bytes;
    }
    return size_bytes;
}

answer_status_t request_infer_input(session_t *session, const protocol_frame_t *request) {
    if (nanou_input(session->net, 0) == NULL) {
        return STATUS_UNSUPPORTED; /* no room for any of them */
    }
    if (inputs_crc32(session->net) != protocol_get_u32(request->payload + INFER_CRC32_AT)) {
        return STATUS_INPUT_DIFFERS;
    }
    const measured_t run = invoke_measured(session->net);
    if (run.status != NANOU_OK) {
        return model_failed(session, run.status);
    }
    answer_u8(session, SOURCE_INPUTS);
    answer_u32(session, nanou_output_crc32(session->net));
    answer_u32(session, outputs_bytes());
    answer_u32(session, run.time_us);
    answer_u32(session, run.cycles);
    return STATUS_OK;
}

answer_status_t request_reset(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    const nanou_status_t status = nanou_reset(session->net);
    return status == NANOU_OK ? STATUS_OK : model_failed(session, status);
}

answer_status_t request_golden(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    const self_test_t result = self_test_run(session->net, &session->profile);
    session->has_profile = 0;
    session_note_self_test(session, &result);
    if (result.status != NANOU_OK) {
        return model_failed(session, result.status);
    }
    answer_u8(session, (uint32_t)self_test_passed(&result));
    answer_u32(session, result.expected_crc32);
    answer_u32(session, result.actual_crc32);
    answer_u32(session, result.time_us);
    answer_u16(session, result.layer);
    answer_u16(session, result.operator_index);
    answer_text(session, result.layer_name);
    return STATUS_OK;
}

/* ---- Measuring --------------------------------------------------------------------------------- */

static answer_status_t bench_whole(session_t *session) {
    const measured_t run = invoke_measured(session->net);
    if (run.status != NANOU_OK) {
        return model_failed(session, run.status);
    }
    answer_u32(session, run.time_us);
    answer_u32(session, run.cycles);
    return STATUS_OK;
}

static answer_status_t bench_traced(session_t *session) {
    if (profile_layers() == 0) {
        return STATUS_UNSUPPORTED;
    }
    const uint64_t start_us = port_time_us();
    const uint32_t start_cycles = port_cycles();
    const nanou_status_t status = profile_run(&session->profile, PROFILE_CYCLES, session->net);
    if (status != NANOU_OK) {
        return model_failed(session, status);
    }
    session->has_profile = 1;
    answer_u32(session, (uint32_t)(port_time_us() - start_us));
    answer_u32(session, port_cycles() - start_cycles);
    answer_u16(session, profile_layers());
    return STATUS_OK;
}

static answer_status_t bench_layer(session_t *session, uint16_t layer) {
#if APP_GOLDEN_LAYERS > 0
    if (!session->has_profile || layer >= APP_GOLDEN_LAYERS) {
        return STATUS_RANGE;
    }
    answer_u16(session, layer);
    answer_u16(session, app_golden_layers[layer].operator_index);
    answer_u32(session, session->profile.cycles[layer]);
    answer_text(session, app_golden_layers[layer].name);
    return STATUS_OK;
#else
    (void)session;
    (void)layer;
    return STATUS_UNSUPPORTED;
#endif
}

answer_status_t request_bench(session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != BENCH_BYTES) {
        return STATUS_MALFORMED;
    }
    answer_u8(session, request->payload[BENCH_WHAT_AT]);
    switch (request->payload[BENCH_WHAT_AT]) {
    case BENCH_WHOLE:
        return bench_whole(session);
    case BENCH_TRACED:
        return bench_traced(session);
    case BENCH_LAYER:
        return bench_layer(session, protocol_get_u16(request->payload + BENCH_LAYER_AT));
    default:
        return STATUS_RANGE;
    }
}
