/* app_policy.h - the policy that app_config.h states. */
#ifndef NANOU_APP_POLICY_H
#define NANOU_APP_POLICY_H

#include "app_config.h"
#include "vision/navigation.h"

static const navigation_policy_t app_policy = {
    .go_permille = APP_GO_PERMILLE,
    .stop_permille = APP_STOP_PERMILLE,
    .turn_permille = APP_TURN_PERMILLE,
    .straight_permille = APP_STRAIGHT_PERMILLE,
    .start_pictures = APP_START_PICTURES,
    .stale_us = APP_STALE_US,
};

#endif
