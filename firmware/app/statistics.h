/* statistics.h - how long each stage takes, pictures per second, memory at its lowest. Portable C99. */
#ifndef NANOU_STATISTICS_H
#define NANOU_STATISTICS_H

#include "port.h"
#include "vision.h"

/* Least, greatest and sum of some values; all 0 before the first. */
typedef struct measure {
    uint32_t count;
    uint32_t least;
    uint32_t greatest;
    uint64_t sum;
} measure_t;

void measure_add(measure_t *measure, uint32_t value);
uint32_t measure_mean(const measure_t *measure); /* 0 before the first value */

typedef struct statistics {
    measure_t capture_us; /* waiting for the camera */
    measure_t preprocessing_us;
    measure_t model_us;
    measure_t mask_us;
    measure_t interval_us; /* from one picture to the next */
    port_memory_t memory;  /* as it was at the last picture; its least values are since boot */
    uint64_t last_us;      /* when the last picture was judged */
    uint32_t pictures;     /* since statistics_begin */
} statistics_t;

/* Forgets everything. */
void statistics_begin(statistics_t *statistics);

/* A picture that the camera took `capture_us` to give has been judged at `now_us`. */
void statistics_add(statistics_t *statistics, const vision_times_t *times, uint32_t capture_us,
                    uint64_t now_us);

/* Pictures in ten seconds, by the mean interval; 0 before the second picture. */
uint32_t statistics_fps_tenths(const statistics_t *statistics);

#endif
