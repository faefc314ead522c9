/* nanou.h - run a compiled segmentation model. C99, no heap, no globals that change.
 *
 * One API, two runtimes: `aot` (straight-line C compiled from the model) and `tflm` (TensorFlow Lite
 * Micro interpreter). Application code is the same for both; link one generated library.
 *
 *     static _Alignas(16) uint8_t arena[NANOU_ARENA_BYTES];      // nanou_model.h states the size
 *     nanou_t net;
 *     if (nanou_init(&net, arena, sizeof arena) != NANOU_OK) ...
 *     fill(nanou_input(&net));                                  // int8, height x width x channels
 *     if (nanou_invoke(&net) != NANOU_OK) ...
 *     const int8_t *logits = nanou_output(&net);                // int8, height x width x classes
 *
 * The caller owns every byte: the arena holds the input frame, the output frame and all working
 * memory. Several contexts may run at once on separate arenas. Input survives nanou_invoke.
 */
#ifndef NANOU_H
#define NANOU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NANOU_API_VERSION 1

typedef enum nanou_status {
    NANOU_OK = 0,
    NANOU_ERROR_ARGUMENT = 1,        /* a null pointer where none may be */
    NANOU_ERROR_ARENA_SIZE = 2,      /* arena smaller than nanou_info states for the call */
    NANOU_ERROR_ARENA_ALIGNMENT = 3, /* arena not aligned to nanou_info.arena_alignment_bytes */
    NANOU_ERROR_NOT_READY = 4,       /* nanou_init has not succeeded on this context */
    NANOU_ERROR_RUNTIME = 5          /* the interpreter refused the model or an operator failed */
} nanou_status_t;

/* Shape and affine quantization of one frame: real = scale * (q - zero_point). */
typedef struct nanou_tensor_info {
    uint16_t height_px;
    uint16_t width_px;
    uint16_t channels;
    uint32_t size_bytes; /* height_px * width_px * channels, one byte each */
    float scale;         /* never used in arithmetic by the aot runtime */
    int32_t zero_point;
} nanou_tensor_info_t;

/* What was compiled, for logs, host tools and the boot banner. Constant for a given build. */
typedef struct nanou_info {
    uint32_t api_version;           /* NANOU_API_VERSION that the library was generated for */
    const char *runtime;            /* "aot" or "tflm" */
    const char *model_name;         /* as given to `nanou-deploy generate` */
    const char *model_sha256;       /* 64 hex digits of the .tflite file */
    uint32_t arena_bytes;           /* for nanou_invoke: working memory and both frames */
    uint32_t rows_arena_bytes;      /* for nanou_invoke_rows alone; the least that nanou_init takes */
    uint32_t arena_alignment_bytes; /* power of two */
    uint32_t working_bytes;         /* of arena_bytes: all but the two frames */
    uint32_t macs;                  /* multiply-accumulates in one inference */
    int32_t threshold_q;            /* a pixel is drivable when output >= threshold_q; 128 = never */
    nanou_tensor_info_t input;
    nanou_tensor_info_t output;
} nanou_info_t;

/* A prepared model. Fields are private; the struct is public so that the caller can place it. */
typedef struct nanou {
    uint8_t
        *arena;    /* caller's memory, NULL until nanou_init succeeded; tflm's interpreter lies first in it */
    int8_t *input; /* input frame inside the arena; NULL where that has no room for frames */
    int8_t *output; /* output frame inside the arena, likewise */
} nanou_t;

/* Row callbacks: row y of the input is wanted / row y of the output is ready. Rows come in order.
 * A callback returns 0 to go on; anything else stops nanou_invoke_rows with NANOU_ERROR_RUNTIME. */
typedef int (*nanou_read_row_t)(void *user, uint32_t y, int8_t *row);
typedef int (*nanou_write_row_t)(void *user, uint32_t y, const int8_t *row);

const nanou_info_t *nanou_get_info(void);
nanou_status_t nanou_init(nanou_t *net, void *arena, size_t arena_bytes);
int8_t *nanou_input(nanou_t *net);              /* NULL unless initialised with room for frames */
const int8_t *nanou_output(const nanou_t *net); /* likewise; valid after nanou_invoke */
nanou_status_t nanou_invoke(nanou_t *net);

/* Invoke with rows handed over by callbacks instead of whole frames. `read_row` fills
 * input.width_px * input.channels bytes, `write_row` consumes output.width_px * output.channels. The aot
 * runtime asks for a row when it is first needed and hands one over as soon as it is computed, in an arena
 * without frames; the bytes of the frames, if there is room for them, are used meanwhile. */
nanou_status_t nanou_invoke_rows(nanou_t *net, nanou_read_row_t read_row, nanou_write_row_t write_row,
                                 void *user);

const char *nanou_status_text(nanou_status_t status);

#if defined(NANOU_TRACE_STORED)
/* Diagnostic builds only: called with each row of each layer that nanou_golden_layers lists, by its place
 * there, as stored in the arena: a tensor of zero point -128 as uint8, plus 128. Supplied by app/profile.c.
 */
void nanou_trace_stored(uint32_t golden_layer, const void *row, uint32_t size_bytes);
#elif defined(NANOU_TRACE)
/* Diagnostic builds only: called with each row of each operator's output, rows in order.
 * `operator_index` counts the operators of the .tflite file. Supplied by the host harness. */
void nanou_trace(uint32_t operator_index, const int8_t *row, uint32_t size_bytes);
#endif

#ifdef __cplusplus
}
#endif
#endif
