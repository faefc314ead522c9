#include "vision/driving.h"

#include "vision/app_policy.h"

static const stop_reason_t reasons[] = {
    [DRIVING_OK] = STOP_NONE,
    [DRIVING_UNPROVEN] = STOP_UNPROVEN,
    [DRIVING_NO_CAMERA] = STOP_NO_CAMERA,
    [DRIVING_CAMERA_FAILED] = STOP_CAMERA_FAILED,
    [DRIVING_WRONG_FRAME] = STOP_WRONG_FRAME,
    [DRIVING_MODEL_FAILED] = STOP_MODEL_FAILED,
    [DRIVING_STALE] = STOP_STALE,
};

void driving_begin(driving_t *driving, nanou_t *net, int is_proven, driving_observer_t observer, void *user) {
    driving->net = net;
    driving->is_proven = is_proven != 0;
    driving->observer = observer;
    driving->user = user;
    driving->policy = app_policy;
    driving->vision.threshold_q = APP_THRESHOLD_Q;
    navigation_begin(&driving->navigation, &driving->policy);
    driving->statistics = (statistics_t){.pictures = 0};
    driving_pause(driving, STOP_BOOT);
}

void driving_pause(driving_t *driving, stop_reason_t reason) {
    driving->decision = navigation_stop(&driving->navigation);
    vehicle_stop(reason);
}

void driving_tune(driving_t *driving, const navigation_policy_t *policy, int32_t threshold_q) {
    driving->policy = *policy;
    driving->vision.threshold_q = threshold_q;
    driving_pause(driving, STOP_TUNED);
}

/* What user/ makes of a decision, held to what a decision can be. */
static decision_t ask_user(const driving_t *driving, decision_t proposed, uint32_t age_us) {
    const nanou_user_view_t view = {
        .left_permille = proposed.cover.left_permille,
        .centre_permille = proposed.cover.centre_permille,
        .right_permille = proposed.cover.right_permille,
        .mask_width_px = MASK_WIDTH_PX,
        .mask_height_px = MASK_HEIGHT_PX,
        .mask_row_bytes = MASK_ROW_BYTES,
        .mask = driving->mask,
        .age_us = age_us,
    };
    const nanou_user_decision_t asked = {proposed.go, proposed.steer};
    const nanou_user_decision_t given = nanou_user_decide(&view, asked);
    const int8_t steer = (int8_t)(given.steer > 100 ? 100 : given.steer < -100 ? -100 : given.steer);
    return (decision_t){given.go != 0, given.go ? steer : (int8_t)0, proposed.cover};
}

static driving_fault_t judge(driving_t *driving, const camera_frame_t *frame, uint64_t taken_us,
                             uint32_t capture_us) {
    cover_t cover;
    const vision_status_t status = vision_see(&driving->vision, driving->net, frame, driving->mask, &cover);
    if (status != VISION_OK) {
        return status == VISION_ERROR_FRAME ? DRIVING_WRONG_FRAME : DRIVING_MODEL_FAILED;
    }
    const uint64_t now_us = port_time_us();
    const decision_t proposed = navigation_see(&driving->navigation, cover, taken_us, now_us);
    statistics_add(&driving->statistics, capture_us, now_us);
    if (now_us - taken_us > driving->navigation.policy->stale_us) {
        return DRIVING_STALE;
    }
    driving->decision = ask_user(driving, proposed, (uint32_t)(now_us - taken_us));
    return DRIVING_OK;
}

/* Tells the motors; returns `fault`. */
static driving_fault_t act(driving_t *driving, driving_fault_t fault) {
    if (fault == DRIVING_OK) {
        if (!vehicle_drive(driving->decision.go, driving->decision.steer)) {
            driving->decision.go = driving->decision.steer = 0;
        }
    } else {
        driving_pause(driving, reasons[fault]);
    }
    return fault;
}

driving_fault_t driving_see(driving_t *driving, const camera_frame_t *frame, uint64_t taken_us,
                            uint32_t capture_us) {
    if (!driving->is_proven) {
        return act(driving, DRIVING_UNPROVEN);
    }
    return act(driving, judge(driving, frame, taken_us, capture_us));
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
    const driving_fault_t fault = driving_see(driving, &frame, taken_us, capture_us);
    if (driving->observer != NULL && (fault == DRIVING_OK || fault == DRIVING_STALE)) {
        driving->observer(driving->user, driving, &frame);
    }
    port_camera_give();
    return fault;
}
