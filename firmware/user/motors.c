/* motors.c - no motors: the log says what they would do. Nothing here can move. */
#include "user.h"

void nanou_user_begin_motors(void) {}

/* Each change of the decision is in the log already. */
void nanou_user_motors(int8_t go, int8_t steer) {
    (void)go;
    (void)steer;
}
