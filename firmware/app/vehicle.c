#include "vehicle.h"

#include <string.h>

#include "app_config.h"
#include "port.h"
#include "session.h"
#include "text.h"

#define FREQUENCY_LEAST_HZ 10u
#define FREQUENCY_MOST_HZ  40000u
#define BAUD_MOST          4000000u
#define STEER_LOG_US       250000u /* least time between lines that differ by no more than the steering */

static const char *const reasons[] = {
    [STOP_NONE] = "",
    [STOP_DECIDED] = "the picture says so",
    [STOP_BOOT] = "nothing decided yet",
    [STOP_HOST] = "a host uses the model",
    [STOP_UNPROVEN] = "the self-test has not passed",
    [STOP_NO_CAMERA] = "no camera",
    [STOP_CAMERA_FAILED] = "the camera gives no picture",
    [STOP_WRONG_FRAME] = "a picture of another size",
    [STOP_MODEL_FAILED] = "the model failed",
    [STOP_STALE] = "the picture is too old",
    [STOP_TIMED_OUT] = "no decision in time",
    [STOP_DISARMED] = "not armed",
    [STOP_NOT_SET_UP] = "motors are not set up",
    [STOP_TUNED] = "the policy's numbers are changed",
};

static struct {
    vehicle_channel_t channels[NANOU_PWM_CHANNELS];
    uint8_t stop_message[NANOU_SERIAL_STOP_BYTES];
    uint32_t stop_bytes;
    uint32_t serial_bytes;
    uint8_t has_serial;
    uint8_t has_arm_input;
    const char *broken; /* what could not be set up; NULL: nothing */
    /* Also changed by the alarm: */
    volatile uint8_t may_drive; /* the gate: 0 holds everything at its stop value */
    volatile uint8_t has_expired;
    volatile uint8_t expiry_is_logged;
    /* What the motors were told last */
    int8_t steer;
    stop_reason_t reason;
    uint64_t decided_us; /* the last GO */
    uint8_t has_decided;
    uint32_t timeouts;
    /* What the log says of it */
    session_t *session;
    stop_reason_t logged_reason;
    int8_t logged_steer;
    uint64_t logged_us;
} vehicle = {.reason = STOP_BOOT, .logged_reason = STOP_BOOT};

/* ---- Hardware ---------------------------------------------------------------------------------- */

static void write_pulse(uint32_t channel, uint32_t pulse_ns) {
    vehicle.channels[channel].pulse_ns = pulse_ns;
    port_pwm_write(channel, pulse_ns);
}

/* Closes the gate first: whoever writes a pulse looks at it afterwards (put_pulse), so that the stop comes
 * last. */
static void halt(void) {
    vehicle.may_drive = 0;
    for (uint32_t i = 0; i < NANOU_PWM_CHANNELS; i++) {
        if (vehicle.channels[i].period_ns != 0) {
            write_pulse(i, vehicle.channels[i].stop_ns);
        }
    }
    if (vehicle.has_serial) {
        port_serial_write(vehicle.stop_message, vehicle.stop_bytes);
        vehicle.serial_bytes += vehicle.stop_bytes;
    }
}

static int give_up(const char *what) {
    vehicle.broken = what;
    return -1;
}

int nanou_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t stop_us) {
    if (channel >= NANOU_PWM_CHANNELS || frequency_hz < FREQUENCY_LEAST_HZ ||
        frequency_hz > FREQUENCY_MOST_HZ) {
        return give_up("PWM: channels are 0 to 3, frequencies 10 to 40000 Hz");
    }
    vehicle_channel_t *const to = &vehicle.channels[channel];
    const uint32_t period_ns = 1000000000u / frequency_hz;
    if (to->period_ns != 0 || stop_us > period_ns / 1000u) {
        return give_up("PWM: a channel is in use, or its stop pulse is longer than the period");
    }
    if (port_pwm_begin(channel, pin, frequency_hz, stop_us * 1000u) != 0) {
        return give_up("PWM: this pin or frequency cannot be had here");
    }
    to->stop_ns = to->pulse_ns = stop_us * 1000u;
    to->period_ns = period_ns;
    return 0;
}

static void put_pulse(uint32_t channel, uint32_t pulse_ns) {
    if (!vehicle.may_drive) {
        return;
    }
    write_pulse(channel, pulse_ns);
    if (!vehicle.may_drive) { /* the alarm came meanwhile */
        write_pulse(channel, vehicle.channels[channel].stop_ns);
    }
}

void nanou_pwm_pulse(uint32_t channel, uint32_t pulse_us) {
    const uint32_t period_ns = channel < NANOU_PWM_CHANNELS ? vehicle.channels[channel].period_ns : 0;
    if (period_ns != 0) {
        put_pulse(channel, pulse_us < period_ns / 1000u ? pulse_us * 1000u : period_ns);
    }
}

void nanou_pwm_duty(uint32_t channel, uint32_t duty_permille) {
    const uint32_t period_ns = channel < NANOU_PWM_CHANNELS ? vehicle.channels[channel].period_ns : 0;
    const uint32_t duty = duty_permille < 1000u ? duty_permille : 1000u;
    if (period_ns != 0) {
        put_pulse(channel, (uint32_t)((uint64_t)period_ns * duty / 1000u));
    }
}

int nanou_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud, const uint8_t *stop_message,
                       uint32_t stop_bytes) {
    if (vehicle.has_serial || baud == 0 || baud > BAUD_MOST || stop_bytes > NANOU_SERIAL_STOP_BYTES ||
        port_serial_begin(tx_pin, rx_pin, baud) != 0) {
        return give_up("serial: these pins, this rate or a stop message of that length cannot be had here");
    }
    memcpy(vehicle.stop_message, stop_message, stop_bytes);
    vehicle.stop_bytes = stop_bytes;
    vehicle.has_serial = 1;
    return 0;
}

int nanou_serial_write(const uint8_t *bytes, uint32_t count) {
    if (!vehicle.may_drive || !vehicle.has_serial || count > NANOU_SERIAL_STOP_BYTES) {
        return -1;
    }
    port_serial_write(bytes, count);
    vehicle.serial_bytes += count;
    if (!vehicle.may_drive) { /* the alarm came meanwhile */
        halt();
    }
    return 0;
}

uint32_t nanou_serial_read(uint8_t *bytes, uint32_t capacity) {
    return vehicle.has_serial ? port_serial_read(bytes, capacity) : 0;
}

int nanou_arm_input(int32_t pin) {
    if (port_arm_begin(pin) != 0) {
        return give_up("arm input: this pin cannot be had here");
    }
    vehicle.has_arm_input = 1;
    return 0;
}

static int is_armed(void) {
    return !vehicle.has_arm_input || port_is_armed();
}

void nanou_log(const char *text) {
    if (vehicle.session != NULL) {
        (void)session_log(vehicle.session, LOG_INFORMATION, text);
    }
}

void nanou_read_time_us(uint64_t *time_us) {
    port_read_time_us(time_us);
}

/* ---- The log ----------------------------------------------------------------------------------- */

static void add_channels(text_t *text) {
    for (uint32_t i = 0; i < NANOU_PWM_CHANNELS; i++) {
        if (vehicle.channels[i].period_ns != 0) {
            text_add(text, ", pwm");
            text_add_number(text, (int32_t)i);
            text_add(text, " ");
            text_add_tenths(text, vehicle.channels[i].pulse_ns);
            text_add(text, " us");
        }
    }
}

static text_t describe(void) {
    text_t text = {.count = 0};
    if (vehicle.reason == STOP_NONE) {
        text_add(&text, "motors GO, steer ");
        text_add_number(&text, vehicle.steer);
    } else {
        text_add(&text, "motors STOP: ");
        text_add(&text, vehicle.reason == STOP_NOT_SET_UP && vehicle.broken != NULL
                            ? vehicle.broken
                            : reasons[vehicle.reason]);
    }
    add_channels(&text);
    return text;
}

static void log_change(void) {
    const int is_new = vehicle.logged_reason != vehicle.reason;
    const int turns =
        vehicle.logged_steer != vehicle.steer && port_time_us() - vehicle.logged_us > STEER_LOG_US;
    if (vehicle.session == NULL || (!is_new && !turns)) {
        return;
    }
    const text_t text = describe();
    const uint8_t level = vehicle.reason > STOP_DECIDED ? LOG_WARNING : LOG_INFORMATION;
    if (session_log(vehicle.session, level, text.characters) == 0) { /* else again in the next round */
        vehicle.logged_reason = vehicle.reason;
        vehicle.logged_steer = vehicle.steer;
        vehicle.logged_us = port_time_us();
        vehicle.expiry_is_logged = 0; /* it is not the last word any more */
    }
}

/* ---- Decisions --------------------------------------------------------------------------------- */

static void tell(stop_reason_t reason, int8_t steer) {
    vehicle.reason = reason;
    vehicle.steer = steer;
    nanou_user_motors((int8_t)(reason == STOP_NONE), steer);
    if (!vehicle.has_expired) { /* else it is over already */
        log_change();
    }
}

/* What is left to do after the alarm, and not the alarm's to do. */
static void settle(void) {
    if (!vehicle.has_expired) {
        return;
    }
    vehicle.has_expired = 0;
    vehicle.timeouts++;
    if (vehicle.expiry_is_logged) {
        vehicle.expiry_is_logged = 0;
        vehicle.logged_reason = STOP_TIMED_OUT;
        vehicle.logged_steer = 0;
    }
    halt(); /* the alarm may have come while a decision opened the gate */
    tell(STOP_TIMED_OUT, 0);
}

void vehicle_begin(void) {
    halt();
    nanou_user_begin_motors();
    nanou_user_begin_tasks();
}

void vehicle_report_to(session_t *session) {
    vehicle.session = session;
    if (vehicle.broken != NULL) {
        (void)session_log(session, LOG_ERROR, vehicle.broken);
    }
}

void vehicle_stop(stop_reason_t reason) {
    settle();
    port_alarm(0);
    halt();
    tell(reason, 0);
}

int vehicle_drive(int8_t go, int8_t steer) {
    settle();
    if (!go || vehicle.broken != NULL || !is_armed()) {
        vehicle_stop(!go ? STOP_DECIDED : vehicle.broken != NULL ? STOP_NOT_SET_UP : STOP_DISARMED);
        return 0;
    }
    port_alarm(APP_HOLD_US);
    vehicle.decided_us = port_time_us();
    vehicle.has_decided = 1;
    vehicle.may_drive = 1;
    tell(STOP_NONE, steer);
    return vehicle.may_drive;
}

void vehicle_expire(void) {
    if (!vehicle.may_drive) {
        return;
    }
    halt();
    vehicle.expiry_is_logged =
        vehicle.session != NULL &&
        session_log_from_alarm(vehicle.session, LOG_WARNING, "motors STOP: no decision in time") == 0;
    vehicle.has_expired = 1;
}

void vehicle_watch(void) {
    if (vehicle.may_drive && port_time_us() - vehicle.decided_us > APP_HOLD_US) {
        vehicle_expire(); /* where there is no alarm */
    }
    settle();
    if (vehicle.may_drive && !is_armed()) {
        vehicle_stop(STOP_DISARMED);
    }
    log_change();
}

vehicle_state_t vehicle_state(void) {
    settle();
    const uint64_t age_ms = vehicle.has_decided ? (port_time_us() - vehicle.decided_us) / 1000u : 0;
    const vehicle_state_t state = {
        .go = (int8_t)(vehicle.reason == STOP_NONE),
        .steer = vehicle.steer,
        .reason = (uint8_t)vehicle.reason,
        .is_armed = (uint8_t)is_armed(),
        .age_ms = age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX,
        .timeouts = vehicle.timeouts,
        .serial_bytes = vehicle.serial_bytes,
    };
    return state;
}

const vehicle_channel_t *vehicle_channel(uint32_t channel) {
    return &vehicle.channels[channel];
}
