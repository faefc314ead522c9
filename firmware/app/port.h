/* port.h - what a board provides to the application. Link-time interface: one implementation per board.
 *
 *     src/port_esp.c         ESP-IDF: USB or UART, esp_timer, esp32-camera
 *     device/port_posix.c    this computer: standard streams, a terminal or a TCP port
 *     device/port_bare.c     simulated chips: their UART
 *
 * Nothing here allocates, and nothing waits longer than its comment says. One thread calls all of it.
 */
#ifndef NANOU_PORT_H
#define NANOU_PORT_H

#include <stdint.h>

/* ---- The line to the host ---------------------------------------------------------------------- */

/* Copies what has arrived, up to `capacity` bytes; returns how many, 0 where there is nothing yet. Never
 * waits. */
uint32_t port_read(uint8_t *bytes, uint32_t capacity);

/* Sends all of it: 0, or -1 where the host is gone. Waits for room, but not for ever. */
int port_write(const uint8_t *bytes, uint32_t count);

/* The same for the alarm's function (port_alarm): -1 also where port_write is at work. Where the alarm
 * interrupts the application instead of running beside it, the line may be in use for as long as that waits.
 */
int port_write_from_alarm(const uint8_t *bytes, uint32_t count);

/* ---- Time -------------------------------------------------------------------------------------- */

/* Monotonic, from an origin of the board's choice. Given by pointer: the simulated ESP32 and ESP32-S3 lose
 * the upper half of what a deeply nested call returns in two registers (docs/FIRMWARE.md). */
void port_read_time_us(uint64_t *time_us);

static inline uint64_t port_time_us(void) {
    uint64_t time_us;
    port_read_time_us(&time_us);
    return time_us;
}

uint32_t port_cycles(void); /* cycle or instruction counter, wraps; always 0 where there is none */
extern const uint8_t port_has_cycles;

/* The finest clock that there is: cycles, else microseconds. Wraps. */
static inline uint32_t port_ticks(void) {
    return port_has_cycles ? port_cycles() : (uint32_t)port_time_us();
}

/* Nothing to do: feeds the watchdog and sleeps a tick, or until something arrives. */
void port_idle(void);

/* ---- The board --------------------------------------------------------------------------------- */

typedef struct port_memory {
    uint32_t stack_free_bytes; /* least so far, of the task that calls */
    uint32_t heap_free_bytes;
    uint32_t heap_least_bytes; /* least so far */
} port_memory_t;

port_memory_t port_memory(void);     /* 0 in what is not known */
const char *port_board(void);        /* "esp32s3", "esp32c3-sim", "host" */
const char *port_reset_reason(void); /* "power-on", "watchdog", "brown-out", "restart", ... */

/* A number that differs from the last boot's with near certainty, never 0. The host tells by it that a device
 * was reset. */
uint32_t port_boot_number(void);

/* Starts again as after power-on. Where a board cannot, it returns. */
void port_restart(void);

/* ---- Camera ------------------------------------------------------------------------------------ */

typedef struct camera_frame {
    const uint8_t *pixels; /* RGB565, two bytes each, rows without gaps */
    uint16_t width_px;
    uint16_t height_px;
    uint8_t big_endian; /* 1: the byte with red comes first, as OV sensors send it */
} camera_frame_t;

enum { PORT_CAMERA_OK = 0, PORT_CAMERA_NONE = -1, PORT_CAMERA_FAILED = -2 };

/* The newest picture, to be given back before the next one is taken. Bounded wait. PORT_CAMERA_... */
int port_camera_take(camera_frame_t *frame);
void port_camera_give(void);

/* How pictures are turned from now on; before the first one. */
void port_camera_orient(uint8_t flip_vertical, uint8_t flip_horizontal);

/* ---- Motors: called by vehicle.c alone ---------------------------------------------------------- */

/* 1: there are none; what they are told is recorded. A host may then drive by pictures of its own. */
extern const uint8_t port_motors_are_recorded;

/* 0, or -1 where the pin or the frequency cannot be had. The pulse is `pulse_ns` long from the beginning. */
int port_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t pulse_ns);
void port_pwm_write(uint32_t channel, uint32_t pulse_ns); /* also called by the alarm */

int port_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud);
void port_serial_write(const uint8_t *bytes, uint32_t count); /* also called by the alarm */
uint32_t port_serial_read(uint8_t *bytes, uint32_t capacity);

int port_arm_begin(int32_t pin);
int port_is_armed(void); /* the pin is connected to ground */

/* Has vehicle_expire called once after `delay_us`, whatever the application does by then; a new call takes
 * the place of the last one, 0 calls it off. Boards without a timer do nothing: vehicle_watch looks at the
 * time. */
void port_alarm(uint32_t delay_us);

#endif
