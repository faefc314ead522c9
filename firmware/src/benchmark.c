#include "benchmark.h"

#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

benchmark_t benchmark_run(nanou_t *net, uint32_t inferences) {
    benchmark_t result = {NANOU_OK, 0, INT64_MAX, 0};
    int64_t total_us = 0;
    while (result.inferences < inferences) {
        const int64_t start_us = esp_timer_get_time();
        result.status = nanou_invoke(net);
        const int64_t spent_us = esp_timer_get_time() - start_us;
        if (result.status != NANOU_OK) {
            break;
        }
        result.inferences++;
        total_us += spent_us;
        result.best_us = spent_us < result.best_us ? spent_us : result.best_us;
        vTaskDelay(1); /* the idle task feeds the watchdog */
    }
    result.mean_us = result.inferences > 0 ? total_us / result.inferences : 0;
    return result;
}
