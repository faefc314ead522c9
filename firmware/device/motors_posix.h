/* motors_posix.h - options of the application on this computer that concern the motors. */
#ifndef NANOU_MOTORS_POSIX_H
#define NANOU_MOTORS_POSIX_H

/* `--record FILE` and `--arm FILE`: 1 where `option` is one of them and `value` is used, 0 where it is none,
 * -1 where the file cannot be opened; errno says why. */
int motors_option(const char *option, const char *value);

#endif
