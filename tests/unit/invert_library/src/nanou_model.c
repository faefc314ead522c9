/* Two "operators": 0 inverts each byte (-1 - q), 1 takes the weighted sum of the channels, scaled down. */
#include "nanou_model.h"
#include "nanou_weights.h"

#include <string.h>

nanou_status_t nanou_init(nanou_t *net, void *arena, size_t arena_bytes) {
    if (net == NULL || arena == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (arena_bytes < NANOU_ARENA_BYTES) {
        return NANOU_ERROR_ARENA_SIZE;
    }
    if ((uintptr_t)arena % NANOU_ARENA_ALIGNMENT_BYTES != 0) {
        return NANOU_ERROR_ARENA_ALIGNMENT;
    }
    memset(arena, 0, arena_bytes);
    net->arena = arena;
    net->input = (int8_t *)arena;
    net->output = (int8_t *)arena + 64;
    return NANOU_OK;
}

nanou_status_t nanou_invoke(nanou_t *net) {
    if (net == NULL || net->arena == NULL) {
        return NANOU_ERROR_NOT_READY;
    }
    int8_t *work = (int8_t *)net->arena + 96;
    for (int i = 0; i < NANOU_INPUT_BYTES; i++) {
        work[i] = (int8_t)(-1 - net->input[i]);
    }
    /*FAULT*/
#if defined(NANOU_TRACE_STORED)
    nanou_trace_stored(0, work, NANOU_INPUT_BYTES);
#elif defined(NANOU_TRACE)
    nanou_trace(0, work, NANOU_INPUT_BYTES);
#endif
    for (int i = 0; i < NANOU_OUTPUT_BYTES; i++) {
        int32_t sum = 0;
        for (int c = 0; c < NANOU_INPUT_CHANNELS; c++) {
            sum += work[3 * i + c] * nanou_weights[c];
        }
        net->output[i] = (int8_t)(sum / 8);
    }
    /*LATE FAULT*/
#if defined(NANOU_TRACE_STORED)
    nanou_trace_stored(1, net->output, NANOU_OUTPUT_BYTES);
#elif defined(NANOU_TRACE)
    nanou_trace(1, net->output, NANOU_OUTPUT_BYTES);
#endif
    return NANOU_OK;
}
