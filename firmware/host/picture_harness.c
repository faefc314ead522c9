/* picture_harness.c - run pictures of the camera through a generated model, for verification and measurement.
 *
 * Input: pictures, each a byte that is 1 for big endian and 0 for little endian, then
 * APP_CAMERA_FRAME_BYTES. Output: for each a record as of harness.c, which holds the bit-packed mask and
 * then the cover in thousandths: three 16-bit numbers, little endian. Console: as of harness.c; what is
 * counted and whose stack is measured is the preprocessing alone, all rows of one picture.
 */
#include "app_model.h"
#include "measure.h"
#include "report.h"
#include "vision/vision.h"

enum { INPUT_ROW_BYTES = APP_INPUT_WIDTH_PX * APP_INPUT_CHANNELS };

static uint8_t arena[APP_ROWS_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static struct {
    uint8_t is_big_endian;
    uint8_t pixels[APP_CAMERA_FRAME_BYTES];
} picture;
static nanou_t net;
static vision_t vision = {.threshold_q = APP_THRESHOLD_Q};
static uint32_t frame_number;

/* No clock here: times are not asked for. */
void port_read_time_us(uint64_t *time_us) {
    *time_us = 0;
}

const uint8_t port_has_cycles = 0;

uint32_t port_cycles(void) {
    return 0;
}

static const uint8_t *next_row(void *user, uint32_t y) {
    (void)user;
    return picture.pixels + y * APP_CAMERA_ROW_BYTES;
}

static int preprocess(void) {
    static int8_t row[INPUT_ROW_BYTES];
    app_camera_begin(&vision.camera, next_row, NULL, picture.is_big_endian);
    for (uint32_t y = 0; y < APP_INPUT_HEIGHT_PX; y++) {
        if (app_camera_read_row(&vision.camera, y, row) != 0) {
            return -1;
        }
    }
    return 0;
}

#ifdef NANOU_MEASURED

static int preprocess_measured(void) {
    print_number("frame ", frame_number);
    const uintptr_t top = stack_pointer();
    stack_paint(top);
    const uint64_t empty = instruction_count();
    const uint64_t before = instruction_count();
    const int failed = preprocess();
    const uint64_t after = instruction_count();
    print_statistics(empty, before, after, stack_used_bytes(top));
    return failed;
}

#else

static int preprocess_measured(void) {
    print_number("frame ", frame_number);
    target_print("\n");
    return preprocess();
}

#endif

static void put_half(uint8_t *bytes, uint16_t half) {
    bytes[0] = (uint8_t)half;
    bytes[1] = (uint8_t)(half >> 8);
}

static int see(void) {
    static uint8_t record[RECORD_HEAD_BYTES + MASK_BYTES + 6];
    uint8_t *const seen = record + RECORD_HEAD_BYTES;
    const camera_frame_t frame = {picture.pixels, APP_CAMERA_WIDTH_PX, APP_CAMERA_HEIGHT_PX,
                                  picture.is_big_endian};
    cover_t cover;
    if (vision_see(&vision, &net, &frame, seen, &cover) != VISION_OK) {
        target_print("error vision: the model failed\n");
        return EXIT_INVOKE;
    }
    put_record_head(record, RECORD_OUTPUT, frame_number, MASK_BYTES + 6);
    put_half(seen + MASK_BYTES, cover.left_permille);
    put_half(seen + MASK_BYTES + 2, cover.centre_permille);
    put_half(seen + MASK_BYTES + 4, cover.right_permille);
    return target_write(record, sizeof record) == 0 ? EXIT_DONE : EXIT_STREAM;
}

static int run_pictures(void) {
    for (;; frame_number++) {
        const size_t size_bytes = target_read(&picture, sizeof picture);
        if (size_bytes == 0) {
            return EXIT_DONE;
        }
        if (size_bytes != sizeof picture) {
            target_print("error input: the stream ends within a picture\n");
            return EXIT_STREAM;
        }
        if (preprocess_measured() != 0) {
            target_print("error preprocessing: a row was refused\n");
            return EXIT_INVOKE;
        }
        const int result = see();
        if (result != EXIT_DONE) {
            return result;
        }
    }
}

int main(int argc, char **argv) {
    if (target_open(argc, argv) != 0) {
        return EXIT_STREAM;
    }
    const nanou_status_t status = nanou_init(&net, APP_MODEL, arena, sizeof arena);
    if (status != NANOU_OK) {
        print_error("init", status);
        return EXIT_INIT;
    }
    const int result = run_pictures();
    return target_close() == 0 ? result : EXIT_STREAM;
}
