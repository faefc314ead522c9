/* motors_posix.c - the motors of the application on this computer: what they are told becomes lines of a
 * file.
 *
 *     device ... --record FILE    a line for each change: microseconds, what, how much
 *                                     1234567 pwm0 650000        pulse in nanoseconds
 *                                     1234567 serial 244d3c      bytes in hexadecimal
 *     device ... --arm FILE       the arm input is closed while FILE is there; without it, always
 *
 * The alarm is a signal, so that it comes while the application hangs. What it calls is safe in a signal
 * handler.
 */
#define _XOPEN_SOURCE 700

#include "motors_posix.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "nanou_user.h"
#include "port.h"
#include "vehicle.h"

#define LINE_BYTES (64u + 2u * NANOU_SERIAL_STOP_BYTES)

const uint8_t port_motors_are_recorded = 1;

static int record = -1;
static const char *arm_file;
static uint32_t pulses_ns[NANOU_PWM_CHANNELS];

int motors_option(const char *option, const char *value) {
    if (strcmp(option, "--arm") == 0) {
        arm_file = value;
        return 1;
    }
    if (strcmp(option, "--record") != 0) {
        return 0;
    }
    record = open(value, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    return record >= 0 ? 1 : -1;
}

/* ---- The record: no printf, which is not for signal handlers ------------------------------------- */

typedef struct line {
    char characters[LINE_BYTES];
    size_t count;
} line_t;

static void put(line_t *line, const char *text) {
    while (*text != '\0' && line->count < LINE_BYTES) {
        line->characters[line->count++] = *text++;
    }
}

static void put_number(line_t *line, uint64_t number) {
    char digits[21];
    size_t first = sizeof digits - 1u;
    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number > 0);
    put(line, digits + first);
}

static line_t begin_line(const char *what) {
    line_t line = {.count = 0};
    put_number(&line, port_time_us());
    put(&line, what);
    return line;
}

static void end_line(line_t *line) {
    put(line, "\n");
    (void)!write(record, line->characters, line->count);
}

static void record_pulse(uint32_t channel) {
    if (record < 0) {
        return;
    }
    line_t line = begin_line(" pwm");
    put_number(&line, channel);
    put(&line, " ");
    put_number(&line, pulses_ns[channel]);
    end_line(&line);
}

/* ---- Motors ------------------------------------------------------------------------------------ */

int port_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t pulse_ns) {
    (void)frequency_hz;
    if (pin < 0) {
        return -1;
    }
    pulses_ns[channel] = pulse_ns;
    record_pulse(channel);
    return 0;
}

void port_pwm_write(uint32_t channel, uint32_t pulse_ns) {
    if (pulses_ns[channel] != pulse_ns) {
        pulses_ns[channel] = pulse_ns;
        record_pulse(channel);
    }
}

int port_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud) {
    (void)rx_pin;
    (void)baud;
    return tx_pin >= 0 ? 0 : -1;
}

void port_serial_write(const uint8_t *bytes, uint32_t count) {
    if (record < 0) {
        return;
    }
    line_t line = begin_line(" serial ");
    for (uint32_t i = 0; i < count; i++) {
        const char digits[3] = {"0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15u], '\0'};
        put(&line, digits);
    }
    end_line(&line);
}

uint32_t port_serial_read(uint8_t *bytes, uint32_t capacity) {
    (void)bytes;
    (void)capacity;
    return 0;
}

int port_arm_begin(int32_t pin) {
    return pin >= 0 ? 0 : -1;
}

int port_is_armed(void) {
    return arm_file == NULL || access(arm_file, F_OK) == 0;
}

/* ---- Alarm ------------------------------------------------------------------------------------- */

static void expire(int signal_number) {
    (void)signal_number;
    vehicle_expire();
}

void port_alarm(uint32_t delay_us) {
    static int is_set_up;
    const struct itimerval delay = {{0, 0},
                                    {(time_t)(delay_us / 1000000u), (suseconds_t)(delay_us % 1000000u)}};
    if (!is_set_up) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = expire;
        action.sa_flags = SA_RESTART;
        (void)sigaction(SIGALRM, &action, NULL);
        is_set_up = 1;
    }
    (void)setitimer(ITIMER_REAL, &delay, NULL);
}
