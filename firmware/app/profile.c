#include "profile.h"

#include "port.h"
#include "protocol.h"

#if APP_GOLDEN_LAYERS > 0

static void note_row(void *user, uint32_t golden_layer, const void *row, uint32_t size_bytes) {
    profile_t *const profile = (profile_t *)user;
    if (profile->kind == PROFILE_CRC32) {
        profile->crc32[golden_layer] = protocol_crc32(profile->crc32[golden_layer], row, size_bytes);
        return;
    }
    const uint32_t now = port_ticks();
    profile->cycles[golden_layer] += now - profile->last_cycles;
    profile->last_cycles = port_ticks(); /* what is done here belongs to no layer */
}

uint32_t profile_layers(void) {
    return APP_GOLDEN_LAYERS;
}

nanou_status_t profile_run(profile_t *profile, profile_kind_t kind, nanou_t *net) {
    profile->kind = kind;
    for (uint32_t i = 0; i < PROFILE_LAYERS; i++) {
        profile->crc32[i] = 0;
        profile->cycles[i] = 0;
    }
    nanou_t twin = *net; /* of the same weights, in the same arena */
    twin.model = APP_TRACED;
    nanou_set_trace(&twin, note_row, profile);
    profile->last_cycles = port_ticks();
    return nanou_invoke(&twin);
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
