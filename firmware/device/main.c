/* main.c - the application as a program: all memory is here, and the loop. */
#include "app_model.h"
#include "application.h"
#include "device.h"

#ifndef NANOU_FRAME_BYTES /* one RGB565 frame that the host sends; 0 for none */
#if APP_HAS_VISION
#define NANOU_FRAME_BYTES (160u * 120u * 2u)
#else
#define NANOU_FRAME_BYTES 0u
#endif
#endif

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
#if NANOU_FRAME_BYTES > 0
static uint8_t frame[NANOU_FRAME_BYTES] __attribute__((aligned(4)));
#else
#define frame NULL
#endif

int main(int argc, char **argv) {
    const application_memory_t memory = {arena, sizeof arena, frame, NANOU_FRAME_BYTES};
    const int wrong = device_open(argc, argv);
    if (wrong != 0) {
        return wrong;
    }
    application_start(&memory);
    while (device_is_open()) {
        application_step();
    }
    return 0;
}
