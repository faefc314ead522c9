/* traced_model.c - the generated model compiled a second time, under other names and with tracing.
 *
 * Its weights are those of the first: tables lie in a file of their own. The folder src of the generated
 * library must be on the include path. The interpreter's library has no nanou_model.c and lists no layers:
 * then this file is empty.
 */
#include "nanou_model.h"

#if NANOU_GOLDEN_LAYERS > 0
#include "traced_model.h"

#define NANOU_TRACE_STORED
#define nanou_init        traced_init
#define nanou_invoke      traced_invoke
#define nanou_invoke_rows traced_invoke_rows

nanou_status_t traced_init(nanou_t *net, void *arena, size_t arena_bytes);
nanou_status_t traced_invoke_rows(nanou_t *net, nanou_read_row_t read_row, nanou_write_row_t write_row,
                                  void *user);

#include "nanou_model.c"
#else
typedef int traced_model_is_empty; /* C99 wants a declaration in every file */
#endif
