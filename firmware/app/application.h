/* application.h - the firmware without its board: prove itself, then serve the host and drive.
 *
 * Promises: no heap. After a self-test that failed it never drives; it serves all the same, so that a host
 * can find out why.
 */
#ifndef NANOU_APPLICATION_H
#define NANOU_APPLICATION_H

#include <stdint.h>

typedef struct application_memory {
    uint8_t *arena; /* for nanou_init */
    uint32_t arena_bytes;
    uint8_t *frame; /* room for one camera frame that the host sends; NULL for none */
    uint32_t frame_bytes;
} application_memory_t;

/* Prepares the model and runs the self-test. The memory is the application's from now on. */
void application_start(const application_memory_t *memory);

/* One round, to be called for ever: answers what has arrived, drives by one picture, or idles. */
void application_step(void);

#endif
