/* port_esp.h - what main.c needs beside port.h. */
#ifndef NANOU_PORT_ESP_H
#define NANOU_PORT_ESP_H

#include <stdint.h>

/* Opens the line to the host and watches the calling task from now on. Stops the board where it cannot. */
void port_esp_begin(void);

/* Once in every round: feeds the watchdog, and lets the system's own tasks run now and then. */
void port_esp_round(void);

/* Makes the alarm; before port_alarm. */
void motors_esp_begin(void);

#endif
