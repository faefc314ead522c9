/* device.h - what main.c needs beside port.h: the beginning and the end of a program that plays a device. */
#ifndef NANOU_DEVICE_H
#define NANOU_DEVICE_H

/* The text of what the build defined; quotes do not survive every build tool. */
#define DEVICE_TEXT(...)       DEVICE_TEXT_AS_IS(__VA_ARGS__)
#define DEVICE_TEXT_AS_IS(...) #__VA_ARGS__

/* Opens the line that the command line names. 0, or the exit code after saying on standard error what is
 * wrong. */
int device_open(int argc, char **argv);

/* 0 once the host is gone for good; chips never see that. */
int device_is_open(void);

#endif
