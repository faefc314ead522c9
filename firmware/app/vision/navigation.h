/* navigation.h - from how much ground is drivable to GO or STOP and where to steer. Portable C99.
 *
 * Pure: no clock, no camera, no motors; the same calls give the same decisions. Integers only. Tests
 * compare it with a second implementation, tests/navigation.py.
 *
 * It goes once the centre has been covered for some pictures on end, and stops at once where the centre is
 * not, or pictures have not come for too long. Two thresholds for the centre, and two for the steering,
 * keep it from changing its mind with every picture.
 */
#ifndef NANOU_NAVIGATION_H
#define NANOU_NAVIGATION_H

#include <stdint.h>

/* Drivable share of the left, middle and right third of the lower half of the mask, in thousandths. */
typedef struct cover {
    uint16_t left_permille;
    uint16_t centre_permille;
    uint16_t right_permille;
} cover_t;

typedef struct navigation_policy {
    uint16_t go_permille;       /* cover of the centre from which on it may start */
    uint16_t stop_permille;     /* below this it stops; not more than go_permille */
    uint16_t turn_permille;     /* sides that differ by this much begin a turn */
    uint16_t straight_permille; /* less than this ends it; not more than turn_permille */
    uint32_t start_pictures;    /* so many in a row must allow it before it starts */
    uint32_t stale_us;          /* a picture older than this decides nothing any more */
} navigation_policy_t;

typedef struct decision {
    int8_t go;    /* 1 or 0 */
    int8_t steer; /* -100 (left) .. 100 (right); 0 where go is 0 */
    cover_t cover;
} decision_t;

/* State between pictures. */
typedef struct navigation {
    const navigation_policy_t *policy;
    uint64_t taken_us; /* of the last picture */
    uint32_t allowed;  /* pictures in a row that allowed to go */
    uint8_t is_turning;
    decision_t decision;
} navigation_t;

/* Begins stopped. `policy` must outlive `navigation`. */
void navigation_begin(navigation_t *navigation, const navigation_policy_t *policy);

/* A picture that was taken at `taken_us` and is judged at `now_us`. */
decision_t navigation_see(navigation_t *navigation, cover_t cover, uint64_t taken_us, uint64_t now_us);

/* STOP whatever was seen, and begin anew. */
decision_t navigation_stop(navigation_t *navigation);

/* What one picture says, without any other before it. */
decision_t navigation_judge(const navigation_policy_t *policy, cover_t cover);

#endif
