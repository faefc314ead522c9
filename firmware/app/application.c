#include "application.h"

#include "service.h"

static nanou_t net;
static service_t service;

static void report_self_test(const self_test_t *result) {
    if (self_test_passed(result)) {
        session_log(&service.session, LOG_INFORMATION, "self-test passed");
        return;
    }
    session_log(&service.session, LOG_ERROR,
                "self-test failed: this build does not compute what was verified; not driving");
    if (result->status != NANOU_OK) {
        session_log(&service.session, LOG_ERROR, nanou_status_text(result->status));
    }
    if (result->layer != SELF_TEST_NO_LAYER) {
        session_log(&service.session, LOG_ERROR, "first layer that differs:");
        session_log(&service.session, LOG_ERROR, result->layer_name);
    }
}

void application_start(const application_memory_t *memory) {
    const nanou_status_t status = nanou_init(&net, APP_MODEL, memory->arena, memory->arena_bytes);
    service_init(&service, &net);
    self_test_t result = self_test_run(&net, &service.session.profile);
    if (status != NANOU_OK) {
        result.status = status;
    }
    session_note_self_test(&service.session, &result);
    report_self_test(&result);
    service_see(&service, memory->frame, memory->frame_bytes);
}

void application_step(void) {
    if (service_poll(&service) == 0 && service_drive(&service) == 0) {
        port_idle();
    }
}
