/* target.h - what the harness needs from the machine that it runs on.
 *
 * target_files.c      an operating system: standard files
 * bare/semihost.c     RISC-V and Arm in QEMU: files of the host, by semihosting
 * xtensa/simcall.c    Xtensa in QEMU: files of the host, by the simulator's system calls
 * bare/uart.c         a simulated ESP32: frames in flash, results over UART
 */
#ifndef NANOU_TARGET_H
#define NANOU_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* Opens the input and output streams. Returns 0, or -1 after printing why not. */
int target_open(int argc, char **argv);

/* Reads up to size_bytes of input; returns how many came, fewer only at the end of the stream. */
size_t target_read(void *data, size_t size_bytes);

/* Appends to the output stream. Returns 0, or -1 if it was not written. */
int target_write(const void *data, size_t size_bytes);

/* Closes the streams. Returns 0, or -1 if buffered output was lost. */
int target_close(void);

/* Prints text to the console (standard output or UART). */
void target_print(const char *text);

#endif
