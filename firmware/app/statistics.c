#include "statistics.h"

void measure_add(measure_t *measure, uint32_t value) {
    measure->least = measure->count == 0 || value < measure->least ? value : measure->least;
    measure->greatest = value > measure->greatest ? value : measure->greatest;
    measure->sum += value;
    measure->count++;
}

uint32_t measure_mean(const measure_t *measure) {
    return measure->count == 0 ? 0 : (uint32_t)(measure->sum / measure->count);
}

void statistics_begin(statistics_t *statistics) {
    *statistics = (statistics_t){.pictures = 0};
}

void statistics_add(statistics_t *statistics, const vision_times_t *times, uint32_t capture_us,
                    uint64_t now_us) {
    measure_add(&statistics->capture_us, capture_us);
    measure_add(&statistics->preprocessing_us, times->preprocessing_us);
    measure_add(&statistics->model_us, times->model_us);
    measure_add(&statistics->mask_us, times->mask_us);
    if (statistics->pictures > 0) {
        const uint64_t interval_us = now_us - statistics->last_us;
        measure_add(&statistics->interval_us, interval_us < UINT32_MAX ? (uint32_t)interval_us : UINT32_MAX);
    }
    statistics->last_us = now_us;
    statistics->pictures++;
    statistics->memory = port_memory();
}

uint32_t statistics_fps_tenths(const statistics_t *statistics) {
    const uint32_t mean_us = measure_mean(&statistics->interval_us);
    return mean_us == 0 ? 0 : 10000000u / mean_us;
}
