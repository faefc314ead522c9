/* check.h - tests of the firmware's modules, on this computer and on emulated processors.
 *
 *     int main(void) {
 *         CHECK(frame_size(0) == 4);
 *         return check_result();
 *     }
 *
 * `pio test` compiles the sources of one folder with the modules of firmware/app whose headers they include,
 * and the generated library. Each CHECK is one case, "PASS FILE:LINE condition" or "FAIL ..." on the console.
 * No C library is needed.
 */
#ifndef NANOU_CHECK_H
#define NANOU_CHECK_H

#include "target.h"

#define CHECK_TEXT_(token) #token
#define CHECK_TEXT(token)  CHECK_TEXT_(token)
#define CHECK(condition)   check((condition) ? 1 : 0, __FILE__ ":" CHECK_TEXT(__LINE__) " " #condition "\n")

static int check_failures;

/* Returns whether it held, so that a test can leave where nothing more makes sense. */
static inline int check(int holds, const char *text) {
    target_print(holds ? "PASS " : "FAIL ");
    target_print(text);
    check_failures += !holds;
    return holds;
}

/* What main returns: 0 if all held. */
static inline int check_result(void) {
    return check_failures == 0 ? 0 : 1;
}

#endif
