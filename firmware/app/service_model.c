/* service_model.c - the requests that run the model: INFER, GOLDEN, BENCH. */
#include <string.h>

#include "service_requests.h"

#define HASH_PREFIX_BYTES 8u

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

static service_status_t model_failed(service_t *service, nanou_status_t status) {
    service->answer.payload_bytes = 0;
    answer_u8(service, (uint32_t)status);
    return STATUS_MODEL_FAILED;
}

static int is_this_model(const uint8_t *prefix) {
    uint8_t hash[HASH_PREFIX_BYTES];
    model_hash(hash, sizeof hash);
    return memcmp(hash, prefix, sizeof hash) == 0;
}

service_status_t request_infer(service_t *service, const protocol_frame_t *request) {
    if (request->payload_bytes != 18) {
        return STATUS_MALFORMED;
    }
    const uint8_t source = request->payload[0];
    if (source > 2) {
        return STATUS_RANGE;
    }
    if (!is_this_model(request->payload + 6)) {
        return STATUS_STALE_MODEL;
    }
    if (source != 0) {
#ifndef NANOU_NO_VISION
        return request_infer_camera(service, request);
#else
        return STATUS_UNSUPPORTED;
#endif
    }
    if (nanou_input(service->net) == NULL) {
        return STATUS_UNSUPPORTED;
    }
    if (protocol_crc32(0, nanou_input(service->net), NANOU_INPUT_BYTES) !=
        protocol_get_u32(request->payload + 14)) {
        return STATUS_INPUT_DIFFERS;
    }
    const measured_t run = invoke_measured(service->net);
    if (run.status != NANOU_OK) {
        return model_failed(service, run.status);
    }
    answer_u8(service, source);
    answer_u32(service, protocol_crc32(0, nanou_output(service->net), NANOU_OUTPUT_BYTES));
    answer_u32(service, NANOU_OUTPUT_BYTES);
    answer_u32(service, run.time_us);
    answer_u32(service, run.cycles);
    return STATUS_OK;
}

service_status_t request_golden(service_t *service, const protocol_frame_t *request) {
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    const self_test_t result = self_test_run(service->net, &service->profile);
    service->has_profile = 0;
    service_note_self_test(service, &result);
    if (result.status != NANOU_OK) {
        return model_failed(service, result.status);
    }
    answer_u8(service, (uint32_t)self_test_passed(&result));
    answer_u32(service, result.expected_crc32);
    answer_u32(service, result.actual_crc32);
    answer_u32(service, result.time_us);
    answer_u16(service, result.layer);
    answer_u16(service, result.operator_index);
    answer_text(service, result.layer_name);
    return STATUS_OK;
}

/* ---- Measuring --------------------------------------------------------------------------------- */

static service_status_t bench_whole(service_t *service) {
    const measured_t run = invoke_measured(service->net);
    if (run.status != NANOU_OK) {
        return model_failed(service, run.status);
    }
    answer_u32(service, run.time_us);
    answer_u32(service, run.cycles);
    return STATUS_OK;
}

static service_status_t bench_traced(service_t *service) {
    if (profile_layers() == 0) {
        return STATUS_UNSUPPORTED;
    }
    const uint64_t start_us = port_time_us();
    const uint32_t start_cycles = port_cycles();
    const nanou_status_t status = profile_run(&service->profile, PROFILE_CYCLES, service->net);
    if (status != NANOU_OK) {
        return model_failed(service, status);
    }
    service->has_profile = 1;
    answer_u32(service, (uint32_t)(port_time_us() - start_us));
    answer_u32(service, port_cycles() - start_cycles);
    answer_u16(service, profile_layers());
    return STATUS_OK;
}

static service_status_t bench_layer(service_t *service, uint16_t layer) {
#if NANOU_GOLDEN_LAYERS > 0
    if (!service->has_profile || layer >= NANOU_GOLDEN_LAYERS) {
        return STATUS_RANGE;
    }
    answer_u16(service, layer);
    answer_u16(service, nanou_golden_layers[layer].operator_index);
    answer_u32(service, service->profile.cycles[layer]);
    answer_text(service, nanou_golden_layers[layer].name);
    return STATUS_OK;
#else
    (void)service;
    (void)layer;
    return STATUS_UNSUPPORTED;
#endif
}

service_status_t request_bench(service_t *service, const protocol_frame_t *request) {
    if (request->payload_bytes != 3) {
        return STATUS_MALFORMED;
    }
    answer_u8(service, request->payload[0]);
    switch (request->payload[0]) {
    case 0:
        return bench_whole(service);
    case 1:
        return bench_traced(service);
    case 2:
        return bench_layer(service, protocol_get_u16(request->payload + 1));
    default:
        return STATUS_RANGE;
    }
}
