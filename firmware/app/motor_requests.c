#include "motor_requests.h"

#include "vehicle.h"

answer_status_t request_motors(session_t *session, const protocol_frame_t *request) {
    const vehicle_state_t state = vehicle_state();
    uint32_t channels = 0;
    if (request->payload_bytes != 0) {
        return STATUS_MALFORMED;
    }
    for (uint32_t i = 0; i < NANOU_PWM_CHANNELS; i++) {
        channels += vehicle_channel(i)->period_ns != 0;
    }
    answer_u8(session, (uint8_t)state.go);
    answer_u8(session, (uint8_t)state.steer);
    answer_u8(session, state.reason);
    answer_u8(session, state.is_armed);
    answer_u32(session, state.age_ms);
    answer_u32(session, state.timeouts);
    answer_u32(session, state.serial_bytes);
    answer_u8(session, channels);
    for (uint32_t i = 0; i < NANOU_PWM_CHANNELS; i++) {
        if (vehicle_channel(i)->period_ns != 0) {
            answer_u8(session, i);
            answer_u32(session, vehicle_channel(i)->period_ns);
            answer_u32(session, vehicle_channel(i)->pulse_ns);
        }
    }
    return STATUS_OK;
}
