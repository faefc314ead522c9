/* statistics.h - how long the camera keeps one waiting, and how many pictures are judged in a second. */
#ifndef NANOU_STATISTICS_H
#define NANOU_STATISTICS_H

#include <stdint.h>

/* Cleared to zeros is ready. */
typedef struct statistics {
    uint64_t captures_us; /* waiting for the camera, all pictures together */
    uint64_t first_us;    /* when the first picture was judged */
    uint64_t last_us;
    uint32_t pictures;
} statistics_t;

/* A picture that the camera took `capture_us` to give has been judged at `now_us`. */
void statistics_add(statistics_t *statistics, uint32_t capture_us, uint64_t now_us);

/* Mean wait for the camera; 0 before the first picture. */
uint32_t statistics_capture_us(const statistics_t *statistics);

/* Pictures in ten seconds, by the mean interval; 0 before the second picture. */
uint32_t statistics_fps_tenths(const statistics_t *statistics);

#endif
