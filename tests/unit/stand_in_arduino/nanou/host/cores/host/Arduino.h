/* As much of Arduino's core as a sketch needs that prints: Serial writes to stdout. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>
#include <stdio.h>

#define HEX 16

struct SerialPort {
    void begin(unsigned long) {}
    void print(const char *text) { fputs(text, stdout); }
    void print(uint32_t number, int base) { printf(base == HEX ? "%X" : "%u", (unsigned)number); }
    void println(const char *text) { puts(text); }
};
extern SerialPort Serial;

void setup();
void loop();

#endif
