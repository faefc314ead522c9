#include "profile.h"

#include "port.h"
#include "protocol.h"
#include "traced_model.h"

#if NANOU_GOLDEN_LAYERS > 0

static profile_t *running; /* tracing has no parameter for it */

void nanou_trace_stored(uint32_t golden_layer, const void *row, uint32_t size_bytes) {
    if (running->kind == PROFILE_CRC32) {
        running->crc32[golden_layer] = protocol_crc32(running->crc32[golden_layer], row, size_bytes);
        return;
    }
    const uint32_t now = port_ticks();
    running->cycles[golden_layer] += now - running->last_cycles;
    running->last_cycles = port_ticks(); /* what is done here belongs to no layer */
}

uint32_t profile_layers(void) {
    return NANOU_GOLDEN_LAYERS;
}

nanou_status_t profile_run(profile_t *profile, profile_kind_t kind, nanou_t *net) {
    profile->kind = kind;
    for (uint32_t i = 0; i < PROFILE_LAYERS; i++) {
        profile->crc32[i] = 0;
        profile->cycles[i] = 0;
    }
    running = profile;
    profile->last_cycles = port_ticks();
    return traced_invoke(net);
}

#else

uint32_t profile_layers(void) {
    return 0;
}

nanou_status_t profile_run(profile_t *profile, profile_kind_t kind, nanou_t *net) {
    (void)profile;
    (void)kind;
    (void)net;
    return NANOU_ERROR_NOT_READY;
}

#endif
