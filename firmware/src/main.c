/* main.c - say what is installed, prove that it computes correctly, then measure it for ever. */
#include "arena.h"
#include "benchmark.h"
#include "drivable.h"
#include "self_test.h"

#include <inttypes.h>

#include "esp_log.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#define INFERENCES_PER_REPORT 10
#define REPORT_PAUSE_MS       1000
#define FAILURE_PAUSE_MS      5000

static const char *const tag = "nanou";

static NANOU_ARENA_ATTR uint8_t arena[NANOU_ARENA_BYTES]
    __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static nanou_t net;

static void print_banner(const nanou_info_t *info) {
    ESP_LOGI(tag, "model %s, runtime %s, sha256 %.12s", info->model_name, info->runtime, info->model_sha256);
    ESP_LOGI(tag, "input %ux%ux%u, output %ux%ux%u, %" PRIu32 " MACs", info->input.height_px,
             info->input.width_px, info->input.channels, info->output.height_px, info->output.width_px,
             info->output.channels, info->macs);
    ESP_LOGI(tag, "arena %" PRIu32 " bytes in " NANOU_ARENA_PLACE ", chip " CONFIG_IDF_TARGET " at %d MHz",
             info->arena_bytes, CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ);
}

/* Repeats the reason, so that a monitor attached later sees it too. Never returns: wrong output must not be
 * used. */
static void halt(const char *what, const char *why) {
    for (;;) {
        ESP_LOGE(tag, "%s: %s", what, why);
        vTaskDelay(pdMS_TO_TICKS(FAILURE_PAUSE_MS));
    }
}

static void require_self_test(void) {
    const self_test_t result = self_test_run(&net);
    if (result.status != NANOU_OK) {
        halt("self-test failed", nanou_status_text(result.status));
    }
    ESP_LOGI(tag, "self-test: output CRC-32 %08" PRIx32 ", expected %08" PRIx32, result.actual_crc32,
             result.expected_crc32);
    if (!self_test_passed(&result)) {
        halt("self-test failed", "this build does not compute what was verified");
    }
}

static void report_benchmark(void) {
    const benchmark_t result = benchmark_run(&net, INFERENCES_PER_REPORT);
    if (result.status != NANOU_OK) {
        halt("inference failed", nanou_status_text(result.status));
    }
    const uint32_t permille = drivable_permille(&net);
    ESP_LOGI(tag,
             "inference %" PRId64 " us (best of %" PRIu32 "; mean %" PRId64 " us), drivable %" PRIu32
             ".%" PRIu32 " %%",
             result.best_us, result.inferences, result.mean_us, permille / 10, permille % 10);
}

void app_main(void) {
    print_banner(nanou_get_info());
    const nanou_status_t status = nanou_init(&net, arena, sizeof arena);
    if (status != NANOU_OK) {
        halt("nanou_init failed", nanou_status_text(status));
    }
    require_self_test();
    for (;;) {
        report_benchmark();
        vTaskDelay(pdMS_TO_TICKS(REPORT_PAUSE_MS));
    }
}
