/* port_esp.h - what main.c needs beside port.h, and what a vehicle adds. */
#ifndef NANOU_PORT_ESP_H
#define NANOU_PORT_ESP_H

#include <stdint.h>

/* Opens the line to the host and watches the calling task from now on. Stops the board where it cannot. */
void port_esp_begin(void);

/* Once in every round: feeds the watchdog, and lets the system's own tasks run now and then. */
void port_esp_round(void);

/* The motors: weak, so that a vehicle's own function of this name takes its place; this one logs each change.
 * Also called from the timer task, with 0 and 0, where no decision came for DRIVE_HOLD_US. */
void nanou_motors(int8_t go, int8_t steer);

#endif
