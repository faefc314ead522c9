/* GO is earned by some pictures, STOP needs one, and silence is STOP. */
#include "check.h"
#include "vision/navigation.h"

#define PICTURE_US 50000u

static const cover_t clear = {800, 900, 800}, middling = {800, 600, 800}, blocked = {800, 100, 800};
static const cover_t left = {900, 900, 300}, slightly_left = {700, 900, 560}, right = {300, 900, 900};
static const navigation_policy_t policy = {
    .go_permille = 700,
    .stop_permille = 550,
    .turn_permille = 200,
    .straight_permille = 100,
    .start_pictures = 3,
    .stale_us = 500000,
};
static navigation_t navigation;
static uint64_t now_us;

static decision_t see(cover_t cover) {
    now_us += PICTURE_US;
    return navigation_see(&navigation, cover, now_us, now_us);
}

static void begin(void) {
    navigation_begin(&navigation, &policy);
}

static void go(void) {
    begin();
    for (uint32_t i = 0; i < policy.start_pictures; i++) {
        (void)see(clear);
    }
}

int main(void) {
    begin();
    CHECK(see(clear).go == 0);
    CHECK(see(clear).go == 0);
    CHECK(see(clear).go == 1);

    begin();
    CHECK(see(middling).go == 0 && see(middling).go == 0 && see(middling).go == 0); /* too little to start */
    go();
    CHECK(see(middling).go == 1); /* enough to go on */
    CHECK(see(blocked).go == 0);
    CHECK(see(clear).go == 0); /* and begins to count anew */

    go();
    CHECK(see(clear).steer == 0);
    CHECK(see(slightly_left).steer == 0); /* not enough to begin a turn */
    CHECK(see(left).steer == -50);
    CHECK(see(slightly_left).steer < 0); /* but to go on with it */
    CHECK(see(clear).steer == 0);
    CHECK(see(right).steer == 50);
    CHECK(see(blocked).steer == 0);

    go();
    now_us += 2 * policy.stale_us;
    CHECK(see(clear).go == 0); /* pictures before a gap say nothing of now */
    CHECK(navigation_see(&navigation, clear, now_us, now_us + 1000000u).go == 0); /* late */

    go();
    CHECK(navigation_stop(&navigation).go == 0 && see(clear).go == 0);
    CHECK(navigation_judge(&policy, clear).go == 1);
    CHECK(navigation_judge(&policy, middling).go == 0);
    return check_result();
}
