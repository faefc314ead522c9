/* main.c - the application on an ESP32 board: all its memory is here, and the loop. */
#include "application.h"
#include "arena.h"
#include "camera_pins.h"
#include "port_esp.h"

/* Boards without a camera judge pictures that the host sends. With one, a whole picture would be kept for
 * tests only. */
#ifndef NANOU_FRAME_BYTES
#if NANOU_HAS_CAMERA || !APP_HAS_VISION
#define NANOU_FRAME_BYTES 0u
#else
#define NANOU_FRAME_BYTES APP_CAMERA_FRAME_BYTES
#endif
#endif

static NANOU_ARENA_ATTR uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));

void app_main(void) {
    application_memory_t memory = {arena, sizeof arena, NULL, 0};
    if (NANOU_FRAME_BYTES > 0) {
        static uint8_t frame[NANOU_FRAME_BYTES > 0 ? NANOU_FRAME_BYTES : 1] __attribute__((aligned(4)));
        memory.frame = frame;
        memory.frame_bytes = NANOU_FRAME_BYTES;
    }
    port_esp_begin();
    application_start(&memory);
    for (;;) {
        application_step();
        port_esp_round();
    }
}
