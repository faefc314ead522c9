/* harness.c - run a generated model over a stream of input frames, for verification and measurement.
 *
 * Input: whole frames of NANOU_INPUT_BYTES, one after the other.
 * Output: records, each a header of three little-endian words and then its data:
 *     operator index of the .tflite file, or RECORD_OUTPUT
 *     frame number, from 0
 *     size of the data in bytes
 * Builds with NANOU_TRACE record what each operator wrote. Console: one line of statistics per frame,
 * "error ..." lines, and what the target adds.
 */
#include "measure.h"
#include "nanou.h"
#include "nanou_model.h"
#include "report.h"

static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static uint32_t frame_number;
static int stream_failed;

static void write_record(uint32_t kind, const int8_t *data, uint32_t size_bytes) {
    uint8_t head[RECORD_HEAD_BYTES];
    put_record_head(head, kind, frame_number, size_bytes);
    if (target_write(head, sizeof head) != 0 || target_write(data, size_bytes) != 0) {
        stream_failed = 1;
    }
}

#if defined(NANOU_MEASURED) && !defined(NANOU_TRACE)

static nanou_status_t invoke_measured(nanou_t *net) {
    print_number("frame ", frame_number);
    const uintptr_t top = stack_pointer();
    stack_paint(top);
    const uint64_t empty = instruction_count();
    const uint64_t before = instruction_count();
    const nanou_status_t status = nanou_invoke(net);
    const uint64_t after = instruction_count();
    print_statistics(empty, before, after, stack_used_bytes(top));
    return status;
}

#else

#ifdef NANOU_TRACE
void nanou_trace(uint32_t operator_index, const int8_t *data, uint32_t size_bytes) {
    write_record(operator_index, data, size_bytes);
}
#endif

static nanou_status_t invoke_measured(nanou_t *net) {
    print_number("frame ", frame_number);
    target_print("\n"); /* first, so that records may follow on a line of their own */
    return nanou_invoke(net);
}

#endif

static int run_frames(nanou_t *net) {
    for (;; frame_number++) {
        const size_t size_bytes = target_read(nanou_input(net), NANOU_INPUT_BYTES);
        if (size_bytes == 0) {
            return EXIT_DONE;
        }
        if (size_bytes != NANOU_INPUT_BYTES) {
            target_print("error input: the stream ends within a frame\n");
            return EXIT_STREAM;
        }
        const nanou_status_t status = invoke_measured(net);
        if (status != NANOU_OK) {
            print_error("invoke", status);
            return EXIT_INVOKE;
        }
        write_record(RECORD_OUTPUT, nanou_output(net), NANOU_OUTPUT_BYTES);
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
    const nanou_status_t status = nanou_init(&net, arena, sizeof arena);
    if (status != NANOU_OK) {
        print_error("init", status);
        return EXIT_INIT;
    }
    const int result = run_frames(&net);
    return target_close() == 0 ? result : EXIT_STREAM;
}
