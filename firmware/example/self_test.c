/* self_test.c - the smallest complete use of the model: one inference whose result is known beforehand.
 * Builds for a computer and, with app_main for main, for ESP-IDF.
 */
#include "nanou_classes.h"

#include <inttypes.h>
#include <stdio.h>

static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static nanou_t net;

static uint32_t drivable_pixels(const int8_t *output) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < NANOU_OUTPUT_BYTES; i += NANOU_OUTPUT_CHANNELS) {
        count += nanou_is_drivable(output + i);
    }
    return count;
}

/* 0 if the model computes here what was verified when this library was generated, else 1. */
static int run_self_test(void) {
    nanou_status_t status = nanou_init(&net, arena, sizeof arena);
    if (status == NANOU_OK) {
        nanou_golden_input(nanou_input(&net));
        status = nanou_invoke(&net);
    }
    if (status != NANOU_OK) {
        printf("self-test failed: %s\n", nanou_status_text(status));
        return 1;
    }
    const uint32_t crc32 = nanou_crc32(nanou_output(&net), NANOU_OUTPUT_BYTES);
    const int is_golden = crc32 == NANOU_GOLDEN_CRC32;
    printf("model %s (%s), sha256 %.12s\n", NANOU_MODEL_NAME, NANOU_RUNTIME, NANOU_MODEL_SHA256);
    printf("output CRC-32 %08" PRIx32 ", expected %08" PRIx32 ": %s\n", crc32, (uint32_t)NANOU_GOLDEN_CRC32,
           is_golden ? "equal" : "NOT EQUAL");
    printf("drivable %" PRIu32 " of %d pixels\n", drivable_pixels(nanou_output(&net)),
           NANOU_OUTPUT_HEIGHT_PX * NANOU_OUTPUT_WIDTH_PX);
    return is_golden ? 0 : 1;
}

#ifdef ESP_PLATFORM
void app_main(void);
void app_main(void) {
    (void)run_self_test();
}
#else
int main(void) {
    return run_self_test();
}
#endif
