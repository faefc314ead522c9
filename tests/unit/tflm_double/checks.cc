/* The contract of nanou.h, checked on the harness. Exit status: number of failures. */
#include "nanou_model.h"
#include "nanou_model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include <stdio.h>
#include <string.h>
static const Double good = {0, false, false, kTfLiteInt8, 3, nullptr, 0, 0};
Double tflm = good;
alignas(16) static uint8_t arena[NANOU_ARENA_BYTES + 16];
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
    return nanou_init(net, arena, NANOU_ARENA_BYTES);
}
int main() {
    nanou_t net = {nullptr, nullptr, nullptr};
    EXPECT(nanou_invoke(nullptr) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_invoke(&net) == NANOU_ERROR_NOT_READY);
    EXPECT(nanou_init(nullptr, arena, sizeof arena) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_init(&net, nullptr, sizeof arena) == NANOU_ERROR_ARGUMENT);
    EXPECT(nanou_init(&net, arena, NANOU_ARENA_BYTES - 1) == NANOU_ERROR_ARENA_SIZE);
    EXPECT(nanou_init(&net, arena + 8, NANOU_ARENA_BYTES) == NANOU_ERROR_ARENA_ALIGNMENT);
    EXPECT(tflm.registered == 0);
    EXPECT(reinterpret_cast<uintptr_t>(nanou_model_data) % 16 == 0 && sizeof nanou_model_data == 1003);
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
    EXPECT(tflm.arena + tflm.arena_bytes == arena + NANOU_ARENA_BYTES);
    EXPECT((uint8_t *)net.input + NANOU_INPUT_BYTES <= tflm.arena);
    memset(net.input, 5, NANOU_INPUT_BYTES);
    EXPECT(nanou_invoke(&net) == NANOU_OK);
    EXPECT(net.output[0] == ~5 && net.output[4799] == ~5);
    EXPECT(net.input[0] == 5 && net.input[NANOU_INPUT_BYTES - 1] == 5); // the input survives
    EXPECT(nanou_invoke(&net) == NANOU_OK && net.output[0] == ~5);
    tflm.fail_invoke = true;
    EXPECT(nanou_invoke(&net) == NANOU_ERROR_RUNTIME);
    return failures;
}
