/* device.h - what main.c needs beside port.h: the beginning and the end of a program that plays a device. */
#ifndef NANOU_DEVICE_H
#define NANOU_DEVICE_H

/* Opens the line that the command line names. 0, or the exit code after saying on standard error what is
 * wrong. */
int device_open(int argc, char **argv);

/* 0 once the host is gone for good; chips never see that. */
int device_is_open(void);

#endif
