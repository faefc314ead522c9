/* policy.c - decide by masks on this computer: the firmware's own cover and navigation, as a program.
 *
 * Standard input: requests, each the head below and then a packed mask of height_px rows of whole bytes.
 * Standard output: for each at once go, steer (signed), and the cover of left, centre and right in
 * thousandths. All numbers are little endian. Ends with its input; a request that makes no sense ends it
 * with EXIT_STREAM.
 */
#include <stdint.h>
#include <stdio.h>

#include "vision/app_policy.h"
#include "vision/cover.h"

enum { EXIT_STREAM = 12, HEAD_BYTES = 20, ANSWER_BYTES = 8, MOST_SIDE_PX = 4096, MOST_ROW_BYTES = 512 };

/* What is asked: a picture of a drive (navigation_see), one for itself (navigation_judge), or the first of a
 * new drive. */
enum { OF_A_DRIVE = 0, FOR_ITSELF = 1, FIRST_OF_A_DRIVE = 2 };

typedef struct request {
    uint16_t kind, width_px, height_px;
    uint64_t taken_us;
    uint32_t age_us; /* how long after it was taken the picture is judged */
} request_t;

static uint64_t number_at(const uint8_t *bytes, uint32_t count) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        value |= (uint64_t)bytes[i] << (8u * i);
    }
    return value;
}

/* 1, or 0 at the end of the input, or -1. */
static int read_request(request_t *request) {
    uint8_t head[HEAD_BYTES];
    const size_t size_bytes = fread(head, 1, sizeof head, stdin);
    if (size_bytes != sizeof head) {
        return size_bytes == 0 ? 0 : -1;
    }
    *request = (request_t){(uint16_t)number_at(head, 2), (uint16_t)number_at(head + 2, 2),
                           (uint16_t)number_at(head + 4, 2), number_at(head + 8, 8),
                           (uint32_t)number_at(head + 16, 4)};
    const int is_sane = request->kind <= FIRST_OF_A_DRIVE && request->width_px >= 1 &&
                        request->width_px <= MOST_SIDE_PX && request->height_px >= 1 &&
                        request->height_px <= MOST_SIDE_PX;
    return is_sane ? 1 : -1;
}

/* 0, or -1 where the input ends within the mask. */
static int read_cover(const request_t *request, cover_t *cover) {
    static uint8_t row[MOST_ROW_BYTES];
    cover_count_t count = {{0, 0, 0}};
    for (uint32_t y = 0; y < request->height_px; y++) {
        const size_t row_bytes = (request->width_px + 7u) / 8u;
        if (fread(row, 1, row_bytes, stdin) != row_bytes) {
            return -1;
        }
        cover_add_row(&count, request->width_px, request->height_px, y, row);
    }
    *cover = cover_of(&count, request->width_px, request->height_px);
    return 0;
}

static decision_t decide(navigation_t *navigation, const request_t *request, cover_t cover) {
    if (request->kind == FOR_ITSELF) {
        return navigation_judge(navigation->policy, cover);
    }
    if (request->kind == FIRST_OF_A_DRIVE) {
        navigation_begin(navigation, navigation->policy);
    }
    return navigation_see(navigation, cover, request->taken_us, request->taken_us + request->age_us);
}

static int answer(decision_t decision) {
    const uint16_t covers[3] = {decision.cover.left_permille, decision.cover.centre_permille,
                                decision.cover.right_permille};
    uint8_t bytes[ANSWER_BYTES] = {(uint8_t)decision.go, (uint8_t)decision.steer};
    for (uint32_t part = 0; part < 3u; part++) {
        bytes[2u + 2u * part] = (uint8_t)covers[part];
        bytes[3u + 2u * part] = (uint8_t)(covers[part] >> 8);
    }
    return fwrite(bytes, 1, sizeof bytes, stdout) == sizeof bytes && fflush(stdout) == 0 ? 0 : -1;
}

int main(void) {
    navigation_t navigation;
    navigation_begin(&navigation, &app_policy);
    for (;;) {
        request_t request;
        const int found = read_request(&request);
        cover_t cover;
        if (found == 0) {
            return 0;
        }
        if (found < 0 || read_cover(&request, &cover) != 0 ||
            answer(decide(&navigation, &request, cover)) != 0) {
            return EXIT_STREAM;
        }
    }
}
