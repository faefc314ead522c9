#include "vision/driving.h"

void driving_begin(driving_t *driving, nanou_t *net, int is_proven, driving_observer_t observer, void *user) {
    driving->net = net;
    driving->is_proven = is_proven != 0;
    driving->observer = observer;
    driving->user = user;
    navigation_begin(&driving->navigation, &navigation_default_policy);
    driving->statistics = (statistics_t){.pictures = 0};
    driving_pause(driving);
}

void driving_pause(driving_t *driving) {
    driving->decision = navigation_stop(&driving->navigation);
    port_drive(0, 0);
}

static driving_fault_t judge(driving_t *driving, const camera_frame_t *frame, uint64_t taken_us,
                             uint32_t capture_us) {
    cover_t cover;
    const vision_status_t status = vision_see(&driving->vision, driving->net, frame, driving->mask, &cover);
    if (status != VISION_OK) {
        return status == VISION_ERROR_FRAME ? DRIVING_WRONG_FRAME : DRIVING_MODEL_FAILED;
    }
    const uint64_t now_us = port_time_us();
    driving->decision = navigation_see(&driving->navigation, cover, taken_us, now_us);
    statistics_add(&driving->statistics, capture_us, now_us);
    return now_us - taken_us > driving->navigation.policy->stale_us ? DRIVING_STALE : DRIVING_OK;
}

/* Tells the motors; returns `fault`. */
static driving_fault_t act(driving_t *driving, driving_fault_t fault) {
    if (fault == DRIVING_OK) {
        port_drive(driving->decision.go, driving->decision.steer);
    } else {
        driving_pause(driving);
    }
    return fault;
}

driving_fault_t driving_turn(driving_t *driving) {
    if (!driving->is_proven) {
        return act(driving, DRIVING_UNPROVEN);
    }
    camera_frame_t frame;
    const uint64_t start_us = port_time_us();
    const int taken = port_camera_take(&frame);
    if (taken != PORT_CAMERA_OK) {
        return act(driving, taken == PORT_CAMERA_NONE ? DRIVING_NO_CAMERA : DRIVING_CAMERA_FAILED);
    }
    const uint64_t taken_us = port_time_us();
    const uint32_t capture_us = (uint32_t)(taken_us - start_us);
    const driving_fault_t fault = act(driving, judge(driving, &frame, taken_us, capture_us));
    if (driving->observer != NULL && (fault == DRIVING_OK || fault == DRIVING_STALE)) {
        driving->observer(driving->user, driving, &frame);
    }
    port_camera_give();
    return fault;
}
