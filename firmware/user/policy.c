/* policy.c - what to make of a picture, and how the camera is mounted.
 *
 * The numbers of the policy (from which cover on it goes, stops, turns; how many pictures; how old one may
 * be) are options of `nanou-deploy build`: --policy go=650. Code is for what numbers cannot say.
 */
#include "user.h"

/* As proposed. For example, to slow down instead of stopping short:
 *
 *     if (view->centre_permille > 600 && view->left_permille > 300) return (nanou_user_decision_t){1, -20};
 *
 * or to look at single pixels: view->mask[y * view->mask_row_bytes + x / 8] >> (7 - x % 8) & 1. A STOP by
 * fault, time-out, arm input or self-test is not proposed, but done: nothing here can lift it. */
nanou_user_decision_t nanou_user_decide(const nanou_user_view_t *view, nanou_user_decision_t proposed) {
    (void)view;
    return proposed;
}

/* As configured by --flip. */
nanou_user_orientation_t nanou_user_orient(nanou_user_orientation_t configured) {
    return configured;
}
