/* model.c - the model of the vector instructions (firmware/pie/pie.h) as a library, with a memory of its own. */
#include <stdint.h>

static uint8_t memory[4096];
#define PIE_MEMORY(address) (memory + (address) % sizeof memory)

#include "pie.h"

static pie_state_t state;

pie_state_t *model_state(void) { return &state; }

uint8_t *model_memory(void) { return memory; }

uint32_t model_execute(const uint8_t *code, uint32_t *a) { return pie_execute(&state, code, a); }
