/* profile.h - what each layer computes and costs, by the traced twin of the model.
 *
 * The twin is nanou_model.c compiled a second time, with every row of every layer shown to this module
 * (traced_model.c). It computes in the same arena, from the same input frame. Only the compiled runtime has
 * one. Promises: no heap; one inference at a time, because the place of what is measured is global.
 */
#ifndef NANOU_PROFILE_H
#define NANOU_PROFILE_H

#include "nanou_model.h"

#if NANOU_GOLDEN_LAYERS > 0
#define PROFILE_LAYERS NANOU_GOLDEN_LAYERS
#else
#define PROFILE_LAYERS 1
#endif

typedef enum profile_kind {
    PROFILE_CYCLES =
        0, /* fill in `cycles`: from the row that came before, of any layer, to the end of the row */
    PROFILE_CRC32 = 1 /* fill in `crc32` */
} profile_kind_t;

typedef struct profile {
    profile_kind_t kind;
    uint32_t
        crc32[PROFILE_LAYERS]; /* of all rows, as stored in the arena: compare with nanou_golden_layers */
    uint32_t cycles[PROFILE_LAYERS]; /* of the processor; microseconds where it has no counter */
    uint32_t last_cycles;            /* private: the counter at the end of the last row */
} profile_t;

/* How many layers are told apart; 0 where there is no twin, and profile_run fails with NANOU_ERROR_NOT_READY.
 */
uint32_t profile_layers(void);

/* One inference on what the input frame of `net` holds; the output frame is overwritten. */
nanou_status_t profile_run(profile_t *profile, profile_kind_t kind, nanou_t *net);

#endif
