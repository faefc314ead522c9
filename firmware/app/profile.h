/* profile.h - what each layer computes and costs, by the traced twin of the model.
 *
 * The twin is the model compiled a second time, with every row of every layer shown to this module. It
 * computes in the same arena, from the same inputs. Only the compiled runtime has one. Promises: no heap; one
 * inference at a time, because a traced twin has one place for who is looking.
 */
#ifndef NANOU_PROFILE_H
#define NANOU_PROFILE_H

#include "app_model.h"

#if APP_GOLDEN_LAYERS > 0
#define PROFILE_LAYERS APP_GOLDEN_LAYERS
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
    uint32_t crc32[PROFILE_LAYERS];  /* of all rows, as stored in the arena: compare with app_golden_layers */
    uint32_t cycles[PROFILE_LAYERS]; /* of the processor; microseconds where it has no counter */
    uint32_t last_cycles;            /* private: the counter at the end of the last row */
} profile_t;

/* How many layers are told apart; 0 where there is no twin, and profile_run fails with NANOU_ERROR_NOT_READY.
 */
uint32_t profile_layers(void);

/* One inference on what the input frame of `net` holds; the output frame is overwritten. */
nanou_status_t profile_run(profile_t *profile, profile_kind_t kind, nanou_t *net);

#endif
