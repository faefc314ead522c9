/* cores.h - what a platform provides so that two cores share an inference; asked only where APP_CORES is 2.
 *
 *     src/cores_esp.c         ESP-IDF: a task on the other core
 *     host/cores_threads.c    an operating system: a thread
 *
 * On what has neither, nobody calls it, and one core does the work of both.
 */
#ifndef NANOU_CORES_H
#define NANOU_CORES_H

#include "nanou.h"

/* Has the second core's share of every inference of `net` done elsewhere from now on, for good. Once in a
 * program; nanou_init has succeeded, and no inference is under way. Allocates nothing. Returns 0, or -1 where
 * that was not possible: then one core goes on doing all. */
int cores_share(nanou_t *net);

#endif
