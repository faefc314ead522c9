#include "self_test.h"

#include "nanou_model.h"

self_test_t self_test_run(nanou_t *net) {
    self_test_t result = {NANOU_ERROR_NOT_READY, NANOU_GOLDEN_CRC32, 0};
    int8_t *input = nanou_input(net);
    if (input == NULL) {
        return result;
    }
    nanou_golden_input(input);
    result.status = nanou_invoke(net);
    if (result.status == NANOU_OK) {
        result.actual_crc32 = nanou_crc32(nanou_output(net), NANOU_OUTPUT_BYTES);
    }
    return result;
}

int self_test_passed(const self_test_t *result) {
    return result->status == NANOU_OK && result->actual_crc32 == result->expected_crc32;
}
