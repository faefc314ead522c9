/* nanou_user.h - what the code in user/ implements, and what it may call. Stable: version 1.
 *
 * The same code is compiled for boards, for this computer and for simulated chips; the last two record what
 * the motors are told. Code that needs ESP-IDF goes between #ifdef ESP_PLATFORM and #endif.
 *
 * Promises: motors are stopped from power-on until the self-test has passed, and whenever a picture, the
 * camera, the model, the arm input or time says so. While they are stopped, every PWM channel has its stop
 * pulse and nothing but the stop message is sent by nanou_serial_write, whatever the code in user/ does. A
 * decision holds for APP_HOLD_US (app_config.h); then the motors stop, also where this code or the camera's
 * driver hangs.
 *
 * All hooks are called by one task, and none may wait: whatever takes longer than APP_HOLD_US stops the
 * motors, and after 10 s a board starts again.
 */
#ifndef NANOU_USER_H
#define NANOU_USER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NANOU_USER_API_VERSION 1 /* grows only where code in user/ has to change */

/* ---- Hooks: user/ has each of them once ---------------------------------------------------------- */

/* `go`: 1 or 0. `steer`: -100 (left) .. 100 (right), 0 where `go` is 0. */
typedef struct nanou_user_decision {
    int8_t go;
    int8_t steer;
} nanou_user_decision_t;

/* What the model saw in one picture. */
typedef struct nanou_user_view {
    uint16_t left_permille; /* drivable share of the left third of the lower half, in thousandths */
    uint16_t centre_permille;
    uint16_t right_permille;
    uint16_t mask_width_px;
    uint16_t mask_height_px;
    uint16_t mask_row_bytes;
    const uint8_t *mask; /* rows from the top, a bit for each pixel, leftmost in bit 7: 1 where drivable */
    uint32_t age_us;     /* since the picture was taken */
} nanou_user_view_t;

typedef struct nanou_user_orientation {
    uint8_t
        flip_vertical; /* 1: the camera hangs upside down; with flip_horizontal it is turned by 180 degrees */
    uint8_t flip_horizontal; /* 1: left and right change places */
} nanou_user_orientation_t;

/* Once after power-on, before anything else: nanou_pwm_begin, nanou_serial_begin, nanou_arm_input. */
void nanou_user_begin_motors(void);

/* What the motors are to do now: with every decision, and with 0 and 0 whenever they have been stopped. */
void nanou_user_motors(int8_t go, int8_t steer);

/* The decision, from what was seen and what app_config.h's numbers propose. Called for fresh pictures only.
 */
nanou_user_decision_t nanou_user_decide(const nanou_user_view_t *view, nanou_user_decision_t proposed);

/* How the camera is mounted; `configured` is what app_config.h says. Once, before the first picture. */
nanou_user_orientation_t nanou_user_orient(nanou_user_orientation_t configured);

/* Tasks of one's own: once after nanou_user_begin_motors, and then some hundred times a second at most,
 * between pictures. */
void nanou_user_begin_tasks(void);
void nanou_user_turn(void);

/* ---- PWM: motor drivers, servos, ESCs ------------------------------------------------------------ */

#define NANOU_PWM_CHANNELS 4u

/* Sets up `channel` (0 .. 3) on `pin`, 10 to 40,000 Hz. `stop_us` is how long the pulse is while the motors
 * are stopped: 0 for a motor driver, 1500 for most ESCs and servos. Channels of up to three frequencies.
 * Returns 0, or -1 where that cannot be; the vehicle then never drives, and the log says why. */
int nanou_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t stop_us);

/* How long the pulse is from now on, in microseconds; at most the whole period. */
void nanou_pwm_pulse(uint32_t channel, uint32_t pulse_us);

/* The same as a share of the period in thousandths. */
void nanou_pwm_duty(uint32_t channel, uint32_t duty_permille);

/* ---- Serial: a flight controller, a motor controller --------------------------------------------- */

#define NANOU_SERIAL_STOP_BYTES 64u

/* Opens a UART of its own (8N1), not that to the host. `stop_message`, up to 64 bytes, is sent whenever the
 * motors are stopped, and again with every picture that leaves them so. `rx_pin` -1: nothing is received.
 * Returns as nanou_pwm_begin. */
int nanou_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud, const uint8_t *stop_message,
                       uint32_t stop_bytes);

/* Sends; returns 0, or -1 while the motors are stopped: nothing is sent then. Up to 64 bytes. */
int nanou_serial_write(const uint8_t *bytes, uint32_t count);

/* What has come, up to `capacity` bytes; returns how many. */
uint32_t nanou_serial_read(uint8_t *bytes, uint32_t capacity);

/* ---- Everything else ----------------------------------------------------------------------------- */

/* Motors run only while `pin` is connected to ground, through a switch for example: a broken wire stops them.
 * Returns as nanou_pwm_begin. */
int nanou_arm_input(int32_t pin);

/* A line for the log, up to 120 bytes; more than 20 in a second are dropped. */
void nanou_log(const char *text);

/* Microseconds, monotonic. */
void nanou_read_time_us(uint64_t *time_us);

static inline uint64_t nanou_time_us(void) {
    uint64_t time_us;
    nanou_read_time_us(&time_us);
    return time_us;
}

#ifdef __cplusplus
}
#endif

#endif
