/* motors.c - two motors, one a side, each by a PWM input of a motor driver: differential drive.
 *
 * Forwards only: wire the driver's direction inputs for that (TB6612FNG: AIN1 and BIN1 high, AIN2 and BIN2
 * low, PWM to PWMA and PWMB; DRV8833: PWM to AIN1 and BIN1, AIN2 and BIN2 low). A resistor of 10 kOhm from
 * each PWM pin to ground keeps the motors still while the chip starts.
 */
#include "user.h"

enum { LEFT, RIGHT };

void nanou_user_begin_motors(void) {
    (void)nanou_pwm_begin(LEFT, LEFT_PIN, MOTOR_HZ, 0);
    (void)nanou_pwm_begin(RIGHT, RIGHT_PIN, MOTOR_HZ, 0);
    if (ARM_PIN >= 0) {
        (void)nanou_arm_input(ARM_PIN);
    }
}

/* The inner wheel slows down, to nothing at full steering; no wheel turns slower than it can, but stands. */
static uint32_t duty_permille(int32_t share, int32_t trim_permille) {
    const int32_t duty = CRUISE_PERMILLE * share / 100 * trim_permille / 1000;
    return duty < LEAST_PERMILLE ? 0 : (uint32_t)duty;
}

void nanou_user_motors(int8_t go, int8_t steer) {
    if (!go) {
        nanou_pwm_duty(LEFT, 0);
        nanou_pwm_duty(RIGHT, 0);
        return;
    }
    nanou_pwm_duty(LEFT, duty_permille(steer < 0 ? 100 + steer : 100, LEFT_TRIM_PERMILLE));
    nanou_pwm_duty(RIGHT, duty_permille(steer > 0 ? 100 - steer : 100, RIGHT_TRIM_PERMILLE));
}
