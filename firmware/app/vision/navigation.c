#include "vision/navigation.h"

/* The side with more ground, by how much more: -100 .. 100. */
static int8_t steer_of(cover_t cover) {
    const int32_t left = cover.left_permille, right = cover.right_permille;
    return (int8_t)(left + right == 0 ? 0 : 100 * (right - left) / (left + right));
}

static uint32_t difference(cover_t cover) {
    const uint32_t left = cover.left_permille, right = cover.right_permille;
    return left > right ? left - right : right - left;
}

void navigation_begin(navigation_t *navigation, const navigation_policy_t *policy) {
    *navigation = (navigation_t){.policy = policy};
}

decision_t navigation_stop(navigation_t *navigation) {
    const cover_t nothing = {0, 0, 0};
    navigation->allowed = 0;
    navigation->is_turning = 0;
    navigation->decision = (decision_t){0, 0, nothing};
    return navigation->decision;
}

decision_t navigation_see(navigation_t *navigation, cover_t cover, uint64_t taken_us, uint64_t now_us) {
    const navigation_policy_t *const policy = navigation->policy;
    const int is_stale = now_us - taken_us > policy->stale_us;
    /* Pictures before a gap say nothing of now. */
    if (is_stale || taken_us - navigation->taken_us > policy->stale_us) {
        navigation_stop(navigation);
    }
    navigation->taken_us = taken_us;
    const uint16_t least = navigation->decision.go ? policy->stop_permille : policy->go_permille;
    if (is_stale || cover.centre_permille < least) {
        navigation->allowed = 0;
    } else if (navigation->allowed < UINT32_MAX) {
        navigation->allowed++;
    }
    const uint16_t turn = navigation->is_turning ? policy->straight_permille : policy->turn_permille;
    const int8_t go = navigation->allowed > 0 && navigation->allowed >= policy->start_pictures;
    navigation->is_turning = go && difference(cover) >= turn;
    navigation->decision = (decision_t){go, navigation->is_turning ? steer_of(cover) : (int8_t)0, cover};
    return navigation->decision;
}

decision_t navigation_judge(const navigation_policy_t *policy, cover_t cover) {
    const int8_t go = cover.centre_permille >= policy->go_permille;
    const int turns = go && difference(cover) >= policy->turn_permille;
    return (decision_t){go, turns ? steer_of(cover) : (int8_t)0, cover};
}
