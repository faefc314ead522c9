/* Packed rows hold what the decision says, bit for bit, and are counted right at any border. */
#include "app_model.h"
#include "check.h"
#include "vision/packed_mask.h"

#define CHANNELS (APP_OUTPUT_BYTES / (APP_OUTPUT_WIDTH_PX * APP_OUTPUT_HEIGHT_PX))

static int8_t row[APP_OUTPUT_WIDTH_PX * CHANNELS];
static uint8_t bits[APP_MASK_ROW_BYTES];

static uint32_t bit(uint32_t x) {
    return bits[x / 8] >> (7 - x % 8) & 1u;
}

int main(void) {
    int packed = 1, counted = 1, rest = 1;
    for (uint32_t i = 0; i < sizeof row; i++) {
        const int32_t value = APP_THRESHOLD_Q + (i % 3 == 0 ? 0 : i % 3 == 1 ? -1 : 1);
        row[i] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
    }
    app_mask_row(row, bits);
    for (uint32_t x = 0; x < APP_OUTPUT_WIDTH_PX; x++) {
        packed = packed && bit(x) == app_is_drivable(row + x * CHANNELS);
        packed = packed && (CHANNELS > 1 || bit(x) == (row[x] >= APP_THRESHOLD_Q));
    }
    for (uint32_t x = APP_OUTPUT_WIDTH_PX; x < 8 * APP_MASK_ROW_BYTES; x++) {
        rest = rest && bit(x) == 0;
    }
    for (uint32_t first = 0; first <= APP_OUTPUT_WIDTH_PX; first++) {
        uint32_t count = 0;
        for (uint32_t end = first; end <= APP_OUTPUT_WIDTH_PX; end++) {
            counted = counted && packed_mask_count(bits, first, end) == count;
            count += end < APP_OUTPUT_WIDTH_PX ? bit(end) : 0;
        }
    }
    CHECK(packed);
    CHECK(rest);
    CHECK(counted);
    return check_result();
}
