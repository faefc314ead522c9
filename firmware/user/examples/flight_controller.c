/* motors.c - a flight controller that takes the sticks by serial: MSP version 1, message MSP_SET_RAW_RC
 * (200), as INAV and Betaflight do with the receiver type MSP. Roll steers, throttle drives; arming stays
 * with its own switch.
 *
 * A message is "$M<", bytes of payload, 200, the payload, then the XOR of all from the size on. The payload
 * is a pulse in microseconds for each channel, little endian, in the order that the controller's channel map
 * names: here roll, pitch, throttle, yaw (AERT in Betaflight; look at its receiver tab before the first
 * drive). Where messages end, the controller's own failsafe has to stop: try that, too.
 */
#include "user.h"

enum { CHANNELS = 4, PAYLOAD_BYTES = 2 * CHANNELS, MESSAGE_BYTES = 6 + PAYLOAD_BYTES, MSP_SET_RAW_RC = 200 };
enum { ROLL, PITCH, THROTTLE, YAW };

static void put_message(uint8_t *message, const uint16_t *pulses_us) {
    uint8_t check = PAYLOAD_BYTES ^ MSP_SET_RAW_RC;
    message[0] = '$';
    message[1] = 'M';
    message[2] = '<';
    message[3] = PAYLOAD_BYTES;
    message[4] = MSP_SET_RAW_RC;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        message[5 + 2 * i] = (uint8_t)(pulses_us[i] & 255u);
        message[6 + 2 * i] = (uint8_t)(pulses_us[i] >> 8);
        check = (uint8_t)(check ^ message[5 + 2 * i] ^ message[6 + 2 * i]);
    }
    message[MESSAGE_BYTES - 1] = check;
}

void nanou_user_begin_motors(void) {
    const uint16_t stopped_us[CHANNELS] = {
        [ROLL] = 1500, [PITCH] = 1500, [THROTTLE] = STICK_STOP_US, [YAW] = 1500};
    uint8_t stop[MESSAGE_BYTES];
    put_message(stop, stopped_us);
    (void)nanou_serial_begin(SERIAL_TX_PIN, SERIAL_RX_PIN, SERIAL_BAUD, stop, sizeof stop);
    if (ARM_PIN >= 0) {
        (void)nanou_arm_input(ARM_PIN);
    }
}

/* While it is stopped, the message above is sent instead of this one. */
void nanou_user_motors(int8_t go, int8_t steer) {
    const uint16_t pulses_us[CHANNELS] = {
        [ROLL] = (uint16_t)(1500 + STICK_SWING_US * steer / 100),
        [PITCH] = 1500,
        [THROTTLE] = (uint16_t)(go ? STICK_CRUISE_US : STICK_STOP_US),
        [YAW] = 1500,
    };
    uint8_t message[MESSAGE_BYTES];
    put_message(message, pulses_us);
    (void)nanou_serial_write(message, sizeof message);
}
