#include "vision/statistics.h"

void statistics_add(statistics_t *statistics, uint32_t capture_us, uint64_t now_us) {
    if (statistics->pictures == 0) {
        statistics->first_us = now_us;
    }
    statistics->captures_us += capture_us;
    statistics->last_us = now_us;
    statistics->pictures++;
}

uint32_t statistics_capture_us(const statistics_t *statistics) {
    return statistics->pictures == 0 ? 0 : (uint32_t)(statistics->captures_us / statistics->pictures);
}

uint32_t statistics_fps_tenths(const statistics_t *statistics) {
    const uint64_t all_us = statistics->last_us - statistics->first_us;
    return all_us == 0 ? 0 : (uint32_t)((statistics->pictures - 1u) * 10000000ull / all_us);
}
