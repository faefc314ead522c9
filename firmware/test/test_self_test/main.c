/* The boot self-test passes on this very processor. */
#include "app_model.h"
#include "check.h"
#include "port.h"
#include "self_test.h"

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static profile_t profile;
static nanou_t net;
static uint32_t ticks;

const uint8_t port_has_cycles = 1;

uint32_t port_cycles(void) {
    return ticks++;
}

void port_read_time_us(uint64_t *time_us) {
    *time_us = ticks++;
}

int main(void) {
    self_test_t result = self_test_run(&net, &profile);
    CHECK(result.status == NANOU_ERROR_NOT_READY);
    CHECK(!self_test_passed(&result));

    CHECK(nanou_init(&net, APP_MODEL, arena, sizeof arena) == NANOU_OK);
    result = self_test_run(&net, &profile);
    CHECK(self_test_passed(&result));
    CHECK(result.actual_crc32 == APP_MODEL->golden_crc32);
    CHECK(result.layer == SELF_TEST_NO_LAYER);
    CHECK(result.layer_name[0] == '\0');
    return check_result();
}
