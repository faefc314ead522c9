#include "application.h"

#include "app_config.h"
#include "cores.h"
#include "service.h"
#include "vehicle.h"

static nanou_t net;
static service_t service;

static void report_self_test(const self_test_t *result) {
    if (self_test_passed(result)) {
        (void)session_log(&service.session, LOG_INFORMATION, "self-test passed");
        return;
    }
    (void)session_log(&service.session, LOG_ERROR,
                      "self-test failed: this build does not compute what was verified; not driving");
    if (result->status != NANOU_OK) {
        (void)session_log(&service.session, LOG_ERROR, nanou_status_text(result->status));
    }
    if (result->layer != SELF_TEST_NO_LAYER) {
        (void)session_log(&service.session, LOG_ERROR, "first layer that differs:");
        (void)session_log(&service.session, LOG_ERROR, result->layer_name);
    }
}

static void orient_camera(void) {
    const nanou_user_orientation_t configured = {APP_FLIP_VERTICAL, APP_FLIP_HORIZONTAL};
    const nanou_user_orientation_t chosen = nanou_user_orient(configured);
    port_camera_orient(chosen.flip_vertical != 0, chosen.flip_horizontal != 0);
}

void application_start(const application_memory_t *memory) {
    vehicle_begin(); /* before anything that takes time: motors are stopped */
    orient_camera();
    const nanou_status_t status = nanou_init(&net, APP_MODEL, memory->arena, memory->arena_bytes);
#if APP_CORES > 1 && (defined(ESP_PLATFORM) || defined(NANOU_THREADS))
    if (status == NANOU_OK) {
        (void)cores_share(&net); /* else one core does all, which is as right */
    }
#endif
    service_init(&service, &net);
    vehicle_report_to(&service.session);
    self_test_t result = self_test_run(&net, &service.session.profile);
    if (status != NANOU_OK) {
        result.status = status;
    }
    session_note_self_test(&service.session, &result);
    report_self_test(&result);
    service_see(&service, memory->frame, memory->frame_bytes);
}

void application_step(void) {
    const int is_idle = service_poll(&service) == 0 && service_drive(&service) == 0;
    vehicle_watch();
    nanou_user_turn();
    if (is_idle) {
        port_idle();
    }
}
