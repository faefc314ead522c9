/* vehicle.h - the only way to the motors: what they are told, what stops them, and why.
 *
 * Promises: no heap. Motors are stopped until vehicle_drive says GO, and again once a decision is older than
 * APP_HOLD_US, the arm input opens or vehicle_stop is called. Stopped means: each PWM channel has its stop
 * pulse, the stop message has been sent, and nanou_pwm_... and nanou_serial_write have no effect. Each change
 * is logged, and a change that could not be is logged later, so that the log's last word is what the motors
 * do.
 */
#ifndef NANOU_VEHICLE_H
#define NANOU_VEHICLE_H

#include "nanou_user.h"

struct session;

/* Why the motors are stopped; in the answer to MOTORS, too. */
typedef enum stop_reason {
    STOP_NONE = 0, /* they are not */
    STOP_DECIDED,  /* the picture says so */
    STOP_BOOT,     /* nothing has been decided since power-on */
    STOP_HOST,     /* a host uses the model */
    STOP_UNPROVEN, /* the self-test has not passed */
    STOP_NO_CAMERA,
    STOP_CAMERA_FAILED,
    STOP_WRONG_FRAME,
    STOP_MODEL_FAILED,
    STOP_STALE,      /* the picture was judged too late */
    STOP_TIMED_OUT,  /* no decision for APP_HOLD_US */
    STOP_DISARMED,   /* the arm input is open */
    STOP_NOT_SET_UP, /* nanou_pwm_begin, nanou_serial_begin or nanou_arm_input failed */
    STOP_TUNED       /* a host has changed the policy's numbers */
} stop_reason_t;

typedef struct vehicle_channel {
    uint32_t period_ns; /* 0: not in use */
    uint32_t stop_ns;
    volatile uint32_t pulse_ns; /* as it is now */
} vehicle_channel_t;

typedef struct vehicle_state {
    int8_t go;
    int8_t steer;
    uint8_t reason; /* stop_reason_t */
    uint8_t is_armed;
    uint32_t age_ms;       /* of the last GO; 0 where there was none */
    uint32_t timeouts;     /* since power-on */
    uint32_t serial_bytes; /* sent since power-on, stop messages included */
} vehicle_state_t;

/* First of all: has user/ set up its hardware, stopped. */
void vehicle_begin(void);

/* From now on changes are logged there. */
void vehicle_report_to(struct session *session);

/* A decision; returns whether the motors follow. `go` 0 is vehicle_stop(STOP_DECIDED). */
int vehicle_drive(int8_t go, int8_t steer);

void vehicle_stop(stop_reason_t reason);

/* In every round: stops where time or the arm input say so, and logs what has not been. */
void vehicle_watch(void);

/* The alarm of port_alarm: stops whatever else runs. May be called by another task, or in the middle of any
 * other function, of this module too. */
void vehicle_expire(void);

vehicle_state_t vehicle_state(void);
const vehicle_channel_t *vehicle_channel(uint32_t channel);

#endif
