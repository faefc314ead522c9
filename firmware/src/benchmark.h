/* benchmark.h - how long one inference takes on this board. */
#ifndef NANOU_BENCHMARK_H
#define NANOU_BENCHMARK_H

#include "nanou.h"

typedef struct benchmark {
    nanou_status_t status; /* of the inference that failed, else NANOU_OK */
    uint32_t inferences;
    int64_t best_us; /* least disturbed by interrupts */
    int64_t mean_us;
} benchmark_t;

/* Runs `inferences` (at least 1) on whatever the input frame holds; time does not depend on it. */
benchmark_t benchmark_run(nanou_t *net, uint32_t inferences);

#endif
