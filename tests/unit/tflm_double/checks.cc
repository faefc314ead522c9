/* The contract of nanou.h, checked on the harness. Exit status: number of failures. */
#include "path_net.h"
#include "path_net_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include <stdio.h>
#include <string.h>
static const Double good = {0, false, false, kTfLiteInt8, 3, nullptr, 0, 0};
Double tflm = good;
alignas(16) static uint8_t arena[PATH_NET_ARENA_BYTES + 16];
static int failures;
static void expect(bool condition, const char *text) {
    if (!condition) {
        ++failures;
        puts(text);
    }
}
#define EXPECT(condition) expect(condition, #condition)
static nanou_status_t init(nanou_t *net, Double with) {
    tflm = with;
    return nanou_init(net, &path_net, arena, PATH_NET_ARENA_BYTES);
}
int main() {
    nanou_t net = {};
    EXPECT(nanou_invoke(nullptr) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_invoke(&net) == NANOU_ERROR_NOT_READY);
    EXPECT(nanou_init(nullptr, &path_net, arena, sizeof arena) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_init(&net, &path_net, nullptr, sizeof arena) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_init(&net, &path_net, arena, PATH_NET_ARENA_BYTES - 1) == NANOU_ERROR_ARENA_SIZE);
    EXPECT(nanou_init(&net, &path_net, arena + 8, PATH_NET_ARENA_BYTES) == NANOU_ERROR_ARENA_ALIGNMENT);
    EXPECT(tflm.registered == 0);
    EXPECT(reinterpret_cast<uintptr_t>(path_net_data) % 16 == 0 && sizeof path_net_data == 1003);
    for (int nth = 1; nth <= 4; ++nth) {
        Double bad = good;
        bad.fail_registration = nth;
        EXPECT(init(&net, bad) == NANOU_ERROR_RUNTIME);
        EXPECT(tflm.registered == nth);
    }
    Double bad = good;
    bad.fail_allocation = true;
    EXPECT(init(&net, bad) == NANOU_ERROR_RUNTIME);
    bad = good;
    bad.type = kTfLiteFloat32;
    EXPECT(init(&net, bad) == NANOU_ERROR_RUNTIME);
    bad = good;
    bad.version = 4;
    EXPECT(init(&net, bad) == NANOU_ERROR_RUNTIME);
    EXPECT(nanou_invoke(&net) == NANOU_ERROR_NOT_READY);

    EXPECT(init(&net, good) == NANOU_OK);
    EXPECT(tflm.arena + tflm.arena_bytes == arena + PATH_NET_ARENA_BYTES);
    int8_t *const input = static_cast<int8_t *>(nanou_input(&net, 0));
    const int8_t *const output = static_cast<const int8_t *>(nanou_output(&net, 0));
    EXPECT((uint8_t *)input + PATH_NET_INPUT_BYTES <= tflm.arena);
    EXPECT(nanou_input(&net, 1) == nullptr && nanou_output(&net, 1) == nullptr);
    memset(input, 5, PATH_NET_INPUT_BYTES);
    EXPECT(nanou_invoke(&net) == NANOU_OK);
    EXPECT(output[0] == ~5 && output[4799] == ~5);
    EXPECT(input[0] == 5 && input[PATH_NET_INPUT_BYTES - 1] == 5); // the input survives
    EXPECT(nanou_invoke(&net) == NANOU_OK && output[0] == ~5);
    tflm.fail_invoke = true;
    EXPECT(nanou_invoke(&net) == NANOU_ERROR_RUNTIME);
    return failures;
}
