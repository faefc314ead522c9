/* motors_bare.c - a simulated chip has no motors: vehicle.c keeps what they are told, and MOTORS tells it. */
#include "port.h"

const uint8_t port_motors_are_recorded = 1;

int port_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t pulse_ns) {
    (void)channel;
    (void)frequency_hz;
    (void)pulse_ns;
    return pin >= 0 ? 0 : -1;
}

void port_pwm_write(uint32_t channel, uint32_t pulse_ns) {
    (void)channel;
    (void)pulse_ns;
}

int port_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud) {
    (void)rx_pin;
    (void)baud;
    return tx_pin >= 0 ? 0 : -1;
}

void port_serial_write(const uint8_t *bytes, uint32_t count) {
    (void)bytes;
    (void)count;
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
    return 1; /* somebody has closed the switch */
}

void port_alarm(uint32_t delay_us) {
    (void)delay_us;
}
