#include "vision/tuning.h"

#include "app_config.h"

#define PERMILLE_MOST       1000u
#define START_PICTURES_MOST 1000u
#define STALE_LEAST_US      20000u
#define THRESHOLD_LEAST     (-128)
#define THRESHOLD_MOST      128 /* never */

static navigation_policy_t policy_of(const uint8_t *payload) {
    return (navigation_policy_t){
        .go_permille = protocol_get_u16(payload + TUNE_GO_AT),
        .stop_permille = protocol_get_u16(payload + TUNE_STOP_AT),
        .turn_permille = protocol_get_u16(payload + TUNE_TURN_AT),
        .straight_permille = protocol_get_u16(payload + TUNE_STRAIGHT_AT),
        .start_pictures = protocol_get_u16(payload + TUNE_START_PICTURES_AT),
        .stale_us = protocol_get_u16(payload + TUNE_STALE_AT) * 1000u,
    };
}

/* As nanou_deploy/build/drive_config.py checks them: each lower number ends what the upper one begins. */
static int is_sound(const navigation_policy_t *policy) {
    return policy->go_permille <= PERMILLE_MOST && policy->stop_permille <= policy->go_permille &&
           policy->turn_permille <= PERMILLE_MOST && policy->straight_permille <= policy->turn_permille &&
           policy->start_pictures >= 1u && policy->start_pictures <= START_PICTURES_MOST &&
           policy->stale_us >= STALE_LEAST_US && policy->stale_us < APP_HOLD_US;
}

static int is_threshold(int32_t threshold_q) {
#if APP_HAS_THRESHOLD
    return threshold_q >= THRESHOLD_LEAST && threshold_q <= THRESHOLD_MOST;
#else
    return threshold_q == APP_THRESHOLD_Q;
#endif
}

static void answer_numbers(const driving_t *driving, session_t *session) {
    answer_u16(session, (uint16_t)driving->vision.threshold_q);
    answer_u16(session, driving->policy.go_permille);
    answer_u16(session, driving->policy.stop_permille);
    answer_u16(session, driving->policy.turn_permille);
    answer_u16(session, driving->policy.straight_permille);
    answer_u16(session, driving->policy.start_pictures);
    answer_u16(session, driving->policy.stale_us / 1000u);
    answer_u16(session, APP_HOLD_US / 1000u);
    answer_u8(session, APP_HAS_THRESHOLD);
}

answer_status_t request_tune(driving_t *driving, session_t *session, const protocol_frame_t *request) {
    if (request->payload_bytes != 0 && request->payload_bytes != TUNE_BYTES) {
        return STATUS_MALFORMED;
    }
    if (request->payload_bytes == TUNE_BYTES) {
        const navigation_policy_t policy = policy_of(request->payload);
        const int32_t threshold_q = (int16_t)protocol_get_u16(request->payload + TUNE_THRESHOLD_AT);
        if (!is_sound(&policy) || !is_threshold(threshold_q)) {
            return STATUS_RANGE;
        }
        driving_tune(driving, &policy, threshold_q);
    }
    answer_numbers(driving, session);
    return STATUS_OK;
}
