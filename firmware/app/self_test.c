#include "self_test.h"

#include "port.h"
#include "protocol.h"

#if APP_GOLDEN_LAYERS > 0
static void name_layer(self_test_t *result, nanou_t *net, profile_t *profile) {
    if (nanou_golden_input(net) != NANOU_OK || profile_run(profile, PROFILE_CRC32, net) != NANOU_OK) {
        return;
    }
    for (uint16_t i = 0; i < APP_GOLDEN_LAYERS; i++) {
        if (profile->crc32[i] != app_golden_layers[i].crc32) {
            result->layer = i;
            result->operator_index = app_golden_layers[i].operator_index;
            result->layer_name = app_golden_layers[i].name;
            return;
        }
    }
}
#else
static void name_layer(self_test_t *result, nanou_t *net, profile_t *profile) {
    (void)result;
    (void)net;
    (void)profile;
}
#endif

self_test_t self_test_run(nanou_t *net, profile_t *profile) {
    self_test_t result = {
        NANOU_ERROR_NOT_READY, APP_MODEL->golden_crc32, 0, 0, SELF_TEST_NO_LAYER, 0, "",
    };
    result.status = nanou_golden_input(net);
    if (result.status != NANOU_OK) {
        return result;
    }
    const uint64_t start_us = port_time_us();
    result.status = nanou_invoke(net);
    result.time_us = (uint32_t)(port_time_us() - start_us);
    if (result.status == NANOU_OK) {
        result.actual_crc32 = nanou_output_crc32(net);
        if (!self_test_passed(&result)) {
            name_layer(&result, net, profile);
        }
    }
    (void)nanou_reset(net); /* what it computed is nobody's past */
    return result;
}

int self_test_passed(const self_test_t *result) {
    return result->status == NANOU_OK && result->actual_crc32 == result->expected_crc32;
}
