#include "drivable.h"

uint32_t drivable_pixels(const nanou_t *net) {
    const nanou_info_t *info = nanou_get_info();
    const int8_t *output = nanou_output(net);
    uint32_t count = 0;
    if (output == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < info->output.size_bytes; i += info->output.channels) {
        count += output[i] >= info->threshold_q; /* the first channel is the drivable class */
    }
    return count;
}

uint32_t drivable_permille(const nanou_t *net) {
    const nanou_tensor_info_t *frame = &nanou_get_info()->output;
    return drivable_pixels(net) * 1000u / ((uint32_t)frame->height_px * frame->width_px);
}
