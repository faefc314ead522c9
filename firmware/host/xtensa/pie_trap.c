/* pie_trap.c - the ESP32-S3's vector instructions for a core that lacks them, called by mul_high.S.
 *
 * All their encodings are illegal on QEMU's de233_fpu. This function runs in the exception handler, on a
 * stack of its own, where register windows may not move: it is compiled for the call0 ABI
 * (nanou_deploy/build/machines.py), and calls nothing. plugin/count.c leaves out what begins with
 * nanou_uncounted.
 */
#include "../../pie/pie.h"

#ifdef NANOU_EMULATE_PIE
uint32_t nanou_uncounted_pie(uint32_t *a, const uint8_t *code);

static pie_state_t state;

/* The length of the instruction at `code`, which has been executed on a[0] to a[15]; 0 where it is none. */
uint32_t nanou_uncounted_pie(uint32_t *a, const uint8_t *code) {
    return pie_execute(&state, code, a);
}
#endif
