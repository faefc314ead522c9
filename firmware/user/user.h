/* user.h - the numbers of your vehicle; made once for host, and yours since. docs/ROBOT.md says how to go on.
 *
 * Pins are a proposal. Look them up in your board's schematic before you connect anything.
 */
#ifndef USER_H
#define USER_H

#include "nanou_user.h"

#if NANOU_USER_API_VERSION != 1
#error "user/ was written for version 1 of nanou_user.h: see CHANGELOG.md for what has changed since"
#endif

/* ---- A switch to ground that has to be closed for the motors to run; -1: there is none ----------- */

#define ARM_PIN -1

/* ---- Two motors: examples/two_pwm.c -------------------------------------------------------------- */

#define LEFT_PIN            4
#define RIGHT_PIN           5
#define MOTOR_HZ            20000 /* above what one hears */
#define CRUISE_PERMILLE     500   /* duty straight ahead; begin low */
#define LEAST_PERMILLE      150   /* below this the wheels do not turn */
#define LEFT_TRIM_PERMILLE  1000  /* the faster motor gets less, so that it goes straight */
#define RIGHT_TRIM_PERMILLE 1000

/* ---- Servo and ESC: examples/servo_esc.c --------------------------------------------------------- */

#define SERVO_PIN       4
#define ESC_PIN         5
#define SERVO_HZ        50
#define SERVO_CENTRE_US 1500
#define SERVO_SWING_US  300 /* to either side at full steering; negative: the other way round */
#define ESC_NEUTRAL_US  1500
#define ESC_CRUISE_US   1560

/* ---- Flight controller by serial: examples/flight_controller.c ----------------------------------- */

#define SERIAL_TX_PIN   4
#define SERIAL_RX_PIN   -1
#define SERIAL_BAUD     115200
#define STICK_STOP_US   1000
#define STICK_CRUISE_US 1200
#define STICK_SWING_US  200

#endif
