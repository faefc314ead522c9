/* motors.c - a car: a steering servo and an electronic speed controller (ESC), both by pulses of 1 to 2 ms.
 *
 * Most ESCs have to see the neutral pulse for a second or two before they drive at all: they get it from
 * power-on, and until the self-test has passed. Set the ESC to a slow profile first, wheels off the ground.
 */
#include "user.h"

enum { STEERING, THROTTLE };

void nanou_user_begin_motors(void) {
    (void)nanou_pwm_begin(STEERING, SERVO_PIN, SERVO_HZ, SERVO_CENTRE_US);
    (void)nanou_pwm_begin(THROTTLE, ESC_PIN, SERVO_HZ, ESC_NEUTRAL_US);
    if (ARM_PIN >= 0) {
        (void)nanou_arm_input(ARM_PIN);
    }
}

void nanou_user_motors(int8_t go, int8_t steer) {
    nanou_pwm_pulse(STEERING, (uint32_t)(SERVO_CENTRE_US + SERVO_SWING_US * steer / 100));
    nanou_pwm_pulse(THROTTLE, go ? ESC_CRUISE_US : ESC_NEUTRAL_US);
}
