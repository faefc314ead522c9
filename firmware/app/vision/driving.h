/* driving.h - one picture after the other: camera, model, decision, motors. Portable C99.
 *
 * Whatever goes wrong, the answer is STOP, and it is given to the motors on every turn: no camera, a camera
 * that fails or sends nothing, a picture of the wrong size, a model that fails, pictures that are too old, a
 * self-test that has not passed. A fault ends by itself when pictures come again, except the last. Where no
 * turn comes at all, vehicle.c stops the motors. The policy's numbers are those of app_config.h until a host
 * tunes them, and user/ has the last word on a decision, but none on a fault.
 */
#ifndef NANOU_DRIVING_H
#define NANOU_DRIVING_H

#include "vehicle.h"
#include "vision/navigation.h"
#include "vision/statistics.h"
#include "vision/vision.h"

typedef enum driving_fault {
    DRIVING_OK = 0,
    DRIVING_UNPROVEN = 1,      /* the self-test has not passed */
    DRIVING_NO_CAMERA = 2,     /* this board has none */
    DRIVING_CAMERA_FAILED = 3, /* it gave no picture in time */
    DRIVING_WRONG_FRAME = 4,   /* a picture of another size than the model's contract states */
    DRIVING_MODEL_FAILED = 5,  /* nanou_invoke_rows returned an error */
    DRIVING_STALE = 6          /* the picture was judged too late */
} driving_fault_t;

typedef struct driving driving_t;

/* Called with each picture that was judged, after the motors were told and while `frame` still holds it. */
typedef void (*driving_observer_t)(void *user, const driving_t *driving, const camera_frame_t *frame);

struct driving {
    nanou_t *net;
    driving_observer_t observer; /* may be NULL */
    void *user;
    uint8_t is_proven;
    decision_t decision; /* given to the motors last */
    navigation_policy_t policy;
    navigation_t navigation; /* by `policy` */
    vision_t vision;
    statistics_t statistics;  /* since driving_begin */
    uint8_t mask[MASK_BYTES]; /* of the last picture that was judged */
};

/* `net` has been prepared by nanou_init. `is_proven`: its self-test passed; else every turn ends in STOP. */
void driving_begin(driving_t *driving, nanou_t *net, int is_proven, driving_observer_t observer, void *user);

/* Takes one picture, judges it and drives. Waits no longer than port_camera_take does. */
driving_fault_t driving_turn(driving_t *driving);

/* The same with a picture that is there already, taken at `taken_us`; the camera took `capture_us` to give
 * it. */
driving_fault_t driving_see(driving_t *driving, const camera_frame_t *frame, uint64_t taken_us,
                            uint32_t capture_us);

/* Other numbers from the next picture on; STOP until then. They have been checked. */
void driving_tune(driving_t *driving, const navigation_policy_t *policy, int32_t threshold_q);

/* STOP now; for whoever uses the model for something else. The next turns begin anew. */
void driving_pause(driving_t *driving, stop_reason_t reason);

#endif
