/* nanou.h - run compiled models. C99, no heap, no globals that change.
 *
 * One API for every model and two runtimes: `aot` (straight-line C compiled from the model) and `tflm` (the
 * TensorFlow Lite Micro interpreter). Each generated library has one constant handle, named after its model
 * and declared in a header of that name; a program may link several libraries.
 *
 *     #include "my_model.h"                                     // extern const nanou_model_t my_model
 *
 *     static _Alignas(16) uint8_t arena[MY_MODEL_ARENA_BYTES];
 *     nanou_t net;
 *     if (nanou_init(&net, &my_model, arena, sizeof arena) != NANOU_OK) ...
 *     fill(nanou_input(&net, 0));                               // my_model.inputs[0] says what it holds
 *     if (nanou_invoke(&net) != NANOU_OK) ...
 *     const int8_t *y = nanou_output(&net, 0);
 *
 * The caller owns every byte: the arena holds state, inputs, outputs and all working memory. Several contexts
 * may run at once on separate arenas. Inputs survive nanou_invoke.
 */
#ifndef NANOU_H
#define NANOU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NANOU_API_VERSION 2
#define NANOU_MAX_RANK    8
#define NANOU_GOLDEN_SEED 0x6e616e6fu

typedef enum nanou_status {
    NANOU_OK = 0,
    NANOU_ERROR_ARGUMENT = 1,        /* a null pointer where none may be */
    NANOU_ERROR_ARENA_SIZE = 2,      /* arena smaller than nanou_model_t states for the call */
    NANOU_ERROR_ARENA_ALIGNMENT = 3, /* arena not aligned to arena_alignment_bytes */
    NANOU_ERROR_NOT_READY = 4,       /* nanou_init has not succeeded on this context */
    NANOU_ERROR_RUNTIME = 5,         /* the interpreter refused the model, an operator or a callback failed */
    NANOU_ERROR_NO_ROWS = 6,         /* nanou_invoke_rows: the model has several inputs or outputs */
    NANOU_WAITING = 7                /* nanou_cores_t.wait gave up; nanou_invoke_core goes on from there */
} nanou_status_t;

/* The aot runtime's own tensors are integers; the interpreter's are what the .tflite file states. */
typedef enum nanou_dtype {
    NANOU_INT8 = 0,
    NANOU_INT32 = 1,
    NANOU_INT64 = 2,
    NANOU_UINT8 = 3,
    NANOU_FLOAT32 = 4,
    NANOU_INT16 = 5,
    NANOU_BOOL = 6 /* a byte, 0 or 1 */
} nanou_dtype_t;

/* An input or output, in the order of its dimensions. real = scale * (q - zero_point). */
typedef struct nanou_tensor {
    const char *name;    /* in the .tflite file */
    nanou_dtype_t dtype; /* of its values */
    uint32_t rank;       /* dimensions in use */
    uint32_t dims[NANOU_MAX_RANK];
    uint32_t size_bytes;
    float scale; /* never used in arithmetic by the aot runtime; 0 where the values are plain integers */
    int32_t zero_point;
} nanou_tensor_t;

/* What a layer computes for the golden input, for self-tests that name a layer. */
typedef struct nanou_golden_layer {
    uint32_t crc32;          /* of its output, all rows, as stored in the arena */
    uint16_t operator_index; /* in the .tflite file */
    uint8_t bias; /* what is stored is the int8 value plus this: 128 where the zero point is -128 */
    const char *name;
} nanou_golden_layer_t;

/* Row callbacks: row y of the input is wanted / row y of the output is ready. Rows come in order.
 * A callback returns 0 to go on; anything else stops nanou_invoke_rows with NANOU_ERROR_RUNTIME. */
typedef int (*nanou_read_row_t)(void *user, uint32_t y, int8_t *row);
typedef int (*nanou_write_row_t)(void *user, uint32_t y, const int8_t *row);

/* Called by traced twins with each row of each layer of `golden_layers`, as stored in the arena. */
typedef void (*nanou_trace_t)(void *user, uint32_t golden_layer, const void *row, uint32_t size_bytes);

/* How two cores that share an inference tell each other how far they are: two functions of the platform, for
 * models of two cores. Progress is a number that grows from one inference to the next, and wraps. */
typedef struct nanou_cores {
    /* `core` has come to `progress`. Whoever waits for that sees all that it wrote before. */
    void (*signal)(void *user, uint32_t core, uint32_t progress);
    /* Returns 0 once `core` has come to `progress` or beyond, (int32_t)(come_to - progress) >= 0; anything
     * else to give up, upon which the call that waits returns NANOU_WAITING. */
    int (*wait)(void *user, uint32_t core, uint32_t progress);
    void *user;
} nanou_cores_t;

/* How far each core is. Each writes its own elements only, and the first one all else before it signals. */
typedef struct nanou_progress {
    uint32_t base[2];     /* progress before this inference */
    uint32_t position[2]; /* its next step */
    uint32_t reached[2];  /* where nobody shares: what was signalled */
    const void *frames;
    nanou_read_row_t read_row;
    nanou_write_row_t write_row;
    void *user;
    uint8_t has_failed;
} nanou_progress_t;

typedef struct nanou_model nanou_model_t;

/* A prepared model. Fields are private; the struct is public so that the caller can place it. */
typedef struct nanou {
    const nanou_model_t *model;
    uint8_t *arena;     /* caller's memory, NULL until nanou_init succeeded */
    uint8_t has_frames; /* there is room for whole inputs and outputs */
    nanou_trace_t trace;
    void *trace_user;
    const nanou_cores_t *cores; /* NULL: one core does the work of both */
    nanou_progress_t progress;  /* unused where the model is for one core */
} nanou_t;

/* A generated library: what was compiled, and how to run it. */
struct nanou_model {
    const char *runtime;            /* "aot" or "tflm" */
    const char *name;               /* as given to `nanou-deploy generate` */
    const char *sha256;             /* 64 hex digits of the .tflite file */
    uint32_t arena_bytes;           /* for nanou_invoke: state, working memory, inputs and outputs */
    uint32_t rows_arena_bytes;      /* for nanou_invoke_rows alone; the least that nanou_init takes */
    uint32_t arena_alignment_bytes; /* power of two */
    uint32_t working_bytes;         /* of arena_bytes: neither state nor inputs nor outputs */
    uint32_t state_bytes;           /* kept from one inference to the next */
    uint32_t macs;                  /* multiply-accumulates in one inference */
    int32_t threshold_q;            /* a pixel is drivable when output >= threshold_q; 128 = never */
    uint32_t cores;                 /* 2: a second core can take its share, nanou_set_cores */
    uint32_t input_count;
    uint32_t output_count;
    const nanou_tensor_t *inputs;
    const nanou_tensor_t *outputs;
    uint32_t golden_crc32;       /* of all outputs for nanou_golden_input, from the initial state */
    uint32_t golden_layer_count; /* 0 but in traced twins */
    const nanou_golden_layer_t *golden_layers; /* in the order of the file */
    /* Private: called by the functions below, which have checked their arguments. */
    nanou_status_t (*prepare)(nanou_t *net, size_t arena_bytes); /* NULL: nothing to prepare */
    void (*reset)(nanou_t *net);                                 /* NULL: no state */
    nanou_status_t (*invoke)(nanou_t *net);
    nanou_status_t (*invoke_rows)(nanou_t *net, nanou_read_row_t read_row, nanou_write_row_t write_row,
                                  void *user);                  /* NULL where rows cannot pass */
    nanou_status_t (*invoke_core)(nanou_t *net, uint32_t core); /* NULL: for one core */
    void *(*tensor_data)(const nanou_t *net, uint32_t number);  /* inputs, then outputs */
};

/* Sets state to its initial value; nanou_init does it too. */
static inline nanou_status_t nanou_reset(nanou_t *net) {
    if (net == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (net->arena == NULL) {
        return NANOU_ERROR_NOT_READY;
    }
    if (net->model->reset != NULL) {
        net->model->reset(net);
    }
    return NANOU_OK;
}

static inline nanou_status_t nanou_init(nanou_t *net, const nanou_model_t *model, void *arena,
                                        size_t arena_bytes) {
    if (net == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    net->arena = NULL;
    if (model == NULL || arena == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (arena_bytes < model->rows_arena_bytes) {
        return NANOU_ERROR_ARENA_SIZE;
    }
    if ((uintptr_t)arena % model->arena_alignment_bytes != 0) {
        return NANOU_ERROR_ARENA_ALIGNMENT;
    }
    net->model = model;
    net->arena = (uint8_t *)arena;
    net->has_frames = arena_bytes >= model->arena_bytes;
    net->trace = NULL;
    net->trace_user = NULL;
    net->cores = NULL;
    const nanou_progress_t none = {{0, 0}, {0, 0}, {0, 0}, NULL, NULL, NULL, NULL, 0};
    net->progress = none;
    const nanou_status_t status = model->prepare != NULL ? model->prepare(net, arena_bytes) : NANOU_OK;
    if (status != NANOU_OK) {
        net->arena = NULL;
        return status;
    }
    return nanou_reset(net);
}

/* Input `index`, to be filled; NULL unless initialised with room for it. */
static inline void *nanou_input(const nanou_t *net, uint32_t index) {
    const int is_there =
        net != NULL && net->arena != NULL && net->has_frames && index < net->model->input_count;
    return is_there ? net->model->tensor_data(net, index) : NULL;
}

/* Output `index`, valid after nanou_invoke; NULL likewise. */
static inline const void *nanou_output(const nanou_t *net, uint32_t index) {
    const int is_there =
        net != NULL && net->arena != NULL && net->has_frames && index < net->model->output_count;
    return is_there ? net->model->tensor_data(net, net->model->input_count + index) : NULL;
}

static inline nanou_status_t nanou_invoke(nanou_t *net) {
    if (net == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (net->arena == NULL) {
        return NANOU_ERROR_NOT_READY;
    }
    return net->has_frames ? net->model->invoke(net) : NANOU_ERROR_ARENA_SIZE;
}

/* Invoke with rows handed over by callbacks instead of whole tensors, for models of one input and one output.
 * A row of (1, height, width, channels) has width * channels bytes. The aot runtime asks for a row when it is
 * first needed and hands one over as soon as it is computed, in an arena without room for whole tensors;
 * where there is room, those bytes are used meanwhile. */
static inline nanou_status_t nanou_invoke_rows(nanou_t *net, nanou_read_row_t read_row,
                                               nanou_write_row_t write_row, void *user) {
    if (net == NULL || read_row == NULL || write_row == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (net->arena == NULL) {
        return NANOU_ERROR_NOT_READY;
    }
    return net->model->invoke_rows != NULL ? net->model->invoke_rows(net, read_row, write_row, user)
                                           : NANOU_ERROR_NO_ROWS;
}

/* From now on two cores share each inference: the thread that calls nanou_invoke or nanou_invoke_rows is the
 * first, which also calls the row callbacks; on the other core, a thread calls nanou_invoke_core(net, 1)
 * again and again. Before it does, and while none is under way. NULL: one core again. Twins that are traced
 * stay on one. */
static inline nanou_status_t nanou_set_cores(nanou_t *net, const nanou_cores_t *cores) {
    if (net == NULL) {
        return NANOU_ERROR_ARGUMENT;
    }
    if (net->arena == NULL || (cores != NULL && net->model->invoke_core == NULL)) {
        return NANOU_ERROR_NOT_READY;
    }
    net->cores = cores;
    return NANOU_OK;
}

/* The second core's share of one inference, `core` 1, which waits for the first to begin. Also goes on where
 * `wait` gave up and a call returned NANOU_WAITING, on either core. */
static inline nanou_status_t nanou_invoke_core(nanou_t *net, uint32_t core) {
    if (net == NULL || core > 1) {
        return NANOU_ERROR_ARGUMENT;
    }
    return net->arena != NULL && net->cores != NULL ? net->model->invoke_core(net, core)
                                                    : NANOU_ERROR_NOT_READY;
}

/* Shows every row of a traced twin (MODEL_traced) to `trace` from now on; NULL ends it. Other models have
 * nothing to show. One traced inference at a time. */
static inline void nanou_set_trace(nanou_t *net, nanou_trace_t trace, void *user) {
    net->trace = trace;
    net->trace_user = user;
}

static inline const char *nanou_status_text(nanou_status_t status) {
    switch (status) {
    case NANOU_OK:
        return "ok";
    case NANOU_ERROR_ARGUMENT:
        return "null argument";
    case NANOU_ERROR_ARENA_SIZE:
        return "arena too small";
    case NANOU_ERROR_ARENA_ALIGNMENT:
        return "arena not aligned";
    case NANOU_ERROR_NOT_READY:
        return "not initialised";
    case NANOU_ERROR_RUNTIME:
        return "runtime or callback failed";
    case NANOU_ERROR_NO_ROWS:
        return "no rows: several inputs or outputs";
    case NANOU_WAITING:
        return "waiting for the other core";
    }
    return "unknown status";
}

/* ---- Self-test --------------------------------------------------------------------------------- */

/* CRC-32 of IEEE 802.3, reflected, continued from `crc` (0 to begin); bit by bit, because it runs once per
 * boot and a table would cost 1 KB. */
static inline uint32_t nanou_crc32(uint32_t crc, const void *data, size_t size_bytes) {
    const uint8_t *bytes = (const uint8_t *)data;
    crc = ~crc;
    for (size_t i = 0; i < size_bytes; ++i) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

/* Fills all inputs with the noise of the self-test, and sets state to its initial value: bytes, or multiples
 * of 1/128 from -1 to 1 where a tensor is float32. */
static inline nanou_status_t nanou_golden_input(nanou_t *net) {
    const nanou_status_t status = nanou_reset(net);
    if (status != NANOU_OK) {
        return status;
    }
    uint32_t noise = NANOU_GOLDEN_SEED; /* Numerical Recipes' linear congruential generator */
    for (uint32_t index = 0; index < net->model->input_count; ++index) {
        const nanou_tensor_t *const tensor = &net->model->inputs[index];
        void *const data = nanou_input(net, index);
        if (data == NULL) {
            return NANOU_ERROR_ARENA_SIZE;
        }
        const int is_float = tensor->dtype == NANOU_FLOAT32;
        const uint32_t count = is_float ? tensor->size_bytes / (uint32_t)sizeof(float) : tensor->size_bytes;
        for (uint32_t i = 0; i < count; ++i) {
            noise = noise * 1664525u + 1013904223u;
            if (is_float) {
                ((float *)data)[i] = (float)((int32_t)(noise >> 24) - 128) / 128.0f;
            } else {
                ((uint8_t *)data)[i] = (uint8_t)(noise >> 24);
            }
        }
    }
    return NANOU_OK;
}

/* Of all outputs, one behind the other: after nanou_golden_input and nanou_invoke, the model's golden_crc32.
 */
static inline uint32_t nanou_output_crc32(const nanou_t *net) {
    uint32_t crc = 0;
    for (uint32_t index = 0; index < net->model->output_count; ++index) {
        const void *const data = nanou_output(net, index);
        crc = data == NULL ? crc : nanou_crc32(crc, data, net->model->outputs[index].size_bytes);
    }
    return crc;
}

#ifdef __cplusplus
}
#endif
#endif
