/* tasks.c - whatever else the vehicle does: a lamp, a battery's voltage, a line for the log. Nothing here may
 * wait. */
#include "user.h"

void nanou_user_begin_tasks(void) {}

void nanou_user_turn(void) {}
