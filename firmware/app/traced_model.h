/* traced_model.h - the model a second time, with tracing: the names that traced_model.c gives it. */
#ifndef NANOU_TRACED_MODEL_H
#define NANOU_TRACED_MODEL_H

#include "nanou.h"

/* As nanou_invoke, on a context that nanou_init prepared; calls nanou_trace_stored (nanou.h). */
nanou_status_t traced_invoke(nanou_t *net);
void nanou_trace_stored(uint32_t golden_layer, const void *row, uint32_t size_bytes);

#endif
