/* harness.c - run a generated model over a stream of input frames, for verification and measurement.
 *
 * Input: cases, one after the other: of each all inputs, whole, in the model's order and as the .tflite file
 * takes them. They are consecutive inferences: what a model keeps goes from one to the next.
 * Output: records, each a header of three little-endian words and then its data:
 *     operator index of the .tflite file, or RECORD_OUTPUT, which all outputs have
 *     frame number, from 0
 *     size of the data in bytes
 * Builds with NANOU_TRACE record what each operator wrote. Console: one line of statistics per frame,
 * "error ..." lines, and what the target adds.
 */
#include "app_model.h"
#include "cores.h"
#include "measure.h"
#include "report.h"

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint32_t frame_number;
static int stream_failed;

static void write_record(uint32_t kind, const void *data, uint32_t size_bytes) {
    uint8_t head[RECORD_HEAD_BYTES];
    put_record_head(head, kind, frame_number, size_bytes);
    if (target_write(head, sizeof head) != 0 || target_write(data, size_bytes) != 0) {
        stream_failed = 1;
    }
}

#if defined(NANOU_MEASURED) && !defined(NANOU_TRACE)

/* Not inlined: how an address is made where it is called is not the model's affair. */
static __attribute__((noinline)) nanou_status_t invoke(nanou_t *net) {
    return nanou_invoke(net);
}

static nanou_status_t invoke_measured(nanou_t *net) {
    print_number("frame ", frame_number);
    const uintptr_t top = stack_pointer();
    stack_paint(top);
    const uint64_t empty = instruction_count();
    const uint64_t before = instruction_count();
    const nanou_status_t status = invoke(net);
    const uint64_t after = instruction_count();
    print_statistics(empty, before, after, stack_used_bytes(top));
    return status;
}

#else

#ifdef NANOU_TRACE
static void trace_row(void *user, uint32_t golden_layer, const void *row, uint32_t size_bytes) {
    const nanou_golden_layer_t *const layer = &app_golden_layers[golden_layer];
    const uint8_t *const stored = (const uint8_t *)row;
    int8_t values[64];
    (void)user;
    for (uint32_t done = 0; done < size_bytes; done += sizeof values) {
        const uint32_t count = size_bytes - done < sizeof values ? size_bytes - done : sizeof values;
        for (uint32_t i = 0; i < count; i++) {
            values[i] = (int8_t)(stored[done + i] - layer->bias);
        }
        write_record(layer->operator_index, values, count);
    }
}
#endif

static nanou_status_t invoke_measured(nanou_t *net) {
    print_number("frame ", frame_number);
    target_print("\n"); /* first, so that records may follow on a line of their own */
    return nanou_invoke(net);
}

#endif

#if APP_HAS_BORDER

static float values[(APP_MOST_FILE_INPUT_BYTES > APP_MOST_FILE_OUTPUT_BYTES ? APP_MOST_FILE_INPUT_BYTES
                                                                            : APP_MOST_FILE_OUTPUT_BYTES) /
                        sizeof(float) +
                    1];

static uint32_t input_bytes(uint32_t index) {
    return app_file_input_bytes[index];
}

static size_t read_input(nanou_t *net, uint32_t index) {
    const size_t size_bytes = target_read(values, app_file_input_bytes[index]);
    (void)app_border_input(net, index, values);
    return size_bytes;
}

static void write_output(const nanou_t *net, uint32_t index) {
    (void)app_border_output(net, index, values);
    write_record(RECORD_OUTPUT, values, app_file_output_bytes[index]);
}

#else

static uint32_t input_bytes(uint32_t index) {
    return APP_MODEL->inputs[index].size_bytes;
}

static size_t read_input(nanou_t *net, uint32_t index) {
    return target_read(nanou_input(net, index), input_bytes(index));
}

static void write_output(const nanou_t *net, uint32_t index) {
    write_record(RECORD_OUTPUT, nanou_output(net, index), APP_MODEL->outputs[index].size_bytes);
}

#endif

/* 1: all inputs are there. 0: the stream has ended. -1: it ends within a case. */
static int read_inputs(nanou_t *net) {
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        const size_t size_bytes = read_input(net, i);
        if (size_bytes != input_bytes(i)) {
            return i == 0 && size_bytes == 0 ? 0 : -1;
        }
    }
    return 1;
}

static int run_frames(nanou_t *net) {
    for (;; frame_number++) {
        const int there = read_inputs(net);
        if (there == 0) {
            return EXIT_DONE;
        }
        if (there < 0) {
            target_print("error input: the stream ends within a frame\n");
            return EXIT_STREAM;
        }
        const nanou_status_t status = invoke_measured(net);
        if (status != NANOU_OK) {
            print_error("invoke", status);
            return EXIT_INVOKE;
        }
        for (uint32_t i = 0; i < APP_OUTPUTS; i++) {
            write_output(net, i);
        }
        if (stream_failed) {
            target_print("error output: a record could not be written\n");
            return EXIT_STREAM;
        }
    }
}

int main(int argc, char **argv) {
    static nanou_t net;
    if (target_open(argc, argv) != 0) {
        return EXIT_STREAM;
    }
#ifdef NANOU_TRACE
    const nanou_status_t status = nanou_init(&net, APP_TRACED, arena, sizeof arena);
    nanou_set_trace(&net, trace_row, NULL);
#else
    const nanou_status_t status = nanou_init(&net, APP_MODEL, arena, sizeof arena);
#endif
    if (status != NANOU_OK) {
        print_error("init", status);
        return EXIT_INIT;
    }
#if APP_CORES > 1 && defined(NANOU_THREADS) && !defined(NANOU_TRACE)
    if (cores_share(&net) != 0) {
        target_print("error init: no thread for the second core\n");
        return EXIT_INIT;
    }
#endif
    const int result = run_frames(&net);
    return target_close() == 0 ? result : EXIT_STREAM;
}
