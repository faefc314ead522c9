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
#include "target.h"

#define RECORD_OUTPUT 0xFFFFFFFFu /* the output frame */

enum { EXIT_DONE = 0, EXIT_INIT = 10, EXIT_INVOKE = 11, EXIT_STREAM = 12 };

static uint8_t arena[NANOU_ARENA_BYTES] __attribute__((aligned(NANOU_ARENA_ALIGNMENT_BYTES)));
static uint32_t frame_number;
static int stream_failed;

static void print_number(const char *label, uint64_t value) {
    char digits[21];
    char *first = &digits[20];
    *first = '\0';
    do {
        *--first = (char)('0' + (int)(value % 10u));
        value /= 10u;
    } while (value != 0);
    target_print(label);
    target_print(first);
}

static void print_error(const char *what, nanou_status_t status) {
    target_print("error ");
    target_print(what);
    target_print(": ");
    target_print(nanou_status_text(status));
    target_print("\n");
}

static void put_word(uint8_t *bytes, uint32_t word) {
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(word >> (8 * i));
    }
}

static void write_record(uint32_t kind, const int8_t *data, uint32_t size_bytes) {
    uint8_t header[12];
    put_word(header, kind);
    put_word(header + 4, frame_number);
    put_word(header + 8, size_bytes);
    if (target_write(header, sizeof header) != 0 || target_write(data, size_bytes) != 0) {
        stream_failed = 1;
    }
}

#if defined(NANOU_MEASURED) && !defined(NANOU_TRACE)

/* Invokes the model and prints the counts before an empty interval, before and after the call; then the
 * stack. */
static nanou_status_t invoke_measured(nanou_t *net) {
    print_number("frame ", frame_number);
    const uintptr_t top = stack_pointer();
    stack_paint(top);
    const uint64_t empty = instruction_count();
    const uint64_t before = instruction_count();
    const nanou_status_t status = nanou_invoke(net);
    const uint64_t after = instruction_count();
    print_number(" counts ", empty);
    print_number(" ", before);
    print_number(" ", after);
    print_number(" stack_bytes ", stack_used_bytes(top));
    target_print("\n");
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
