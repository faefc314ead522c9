/* service.h - what a device answers: the requests of docs/PROTOCOL.md, one at a time, and events.
 *
 * Promises: no heap; everything static is in service_t, which the caller owns. A request that is repeated
 * because its answer was lost is not executed again. Nothing that arrives is trusted: wrong sizes, buffers,
 * offsets, models and checksums are refused by status, and a refused request has no effect.
 */
#ifndef NANOU_SERVICE_H
#define NANOU_SERVICE_H

#include "port.h"
#include "profile.h"
#include "protocol.h"
#include "self_test.h"

/* The build defines NANOU_NO_VISION where the model's input is no picture, so that there is no
 * nanou_camera.h. */
#ifndef NANOU_NO_VISION
#include "service_vision.h"
#endif

typedef enum service_status {
    STATUS_OK = 0,
    STATUS_MALFORMED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_VERSION = 3,
    STATUS_OTHER_BOOT = 4,
    STATUS_RANGE = 5,
    STATUS_STALE_MODEL = 6,
    STATUS_INPUT_DIFFERS = 7,
    STATUS_UNSUPPORTED = 8,
    STATUS_MODEL_FAILED = 9,
    STATUS_CAMERA_FAILED = 10,
    STATUS_UNPROVEN = 11
} service_status_t;

typedef enum service_log_level { LOG_ERROR = 0, LOG_WARNING = 1, LOG_INFORMATION = 2 } service_log_level_t;

/* The answer that is being made, and kept for repetition. */
typedef struct service_answer {
    protocol_header_t header;
    uint32_t payload_bytes;
    uint8_t payload[PROTOCOL_PAYLOAD_BYTES];
} service_answer_t;

typedef struct service {
    nanou_t *net;
    self_test_t self_test; /* of the boot, or the last GOLDEN */
    uint8_t self_tested;
    uint32_t boot;
    /* the line */
    protocol_reader_t reader;
    uint8_t line[PROTOCOL_LINE_BYTES]; /* what is being sent */
    service_answer_t answer;
    uint32_t answered_crc32; /* of the request that `answer` belongs to */
    uint8_t has_answered;
    uint32_t events; /* sent so far: the next one's sequence number */
    /* logging: at most LOG_LIMIT lines in a second */
    uint64_t log_second;
    uint32_t log_lines;
    /* measuring */
    profile_t profile;
    uint8_t has_profile;
#ifndef NANOU_NO_VISION
    service_vision_t vision;
#endif
} service_t;

/* Prepares `service`, whose bytes may be anything, for a model that nanou_init has prepared. */
void service_init(service_t *service, nanou_t *net);

/* Notes the result that INFO and every answer's flags tell. */
void service_note_self_test(service_t *service, const self_test_t *result);

/* After the self-test: looks for a camera; `frame` is room for frames that the host sends, NULL for none. */
void service_see(service_t *service, uint8_t *frame, uint32_t frame_bytes);

/* Drives by one picture: 1, or 0 where nothing was to be done: no camera, or the host uses the model. */
int service_drive(service_t *service);

/* 1 if the last self-test passed. */
int service_is_proven(const service_t *service);

/* Takes what has arrived and answers; returns how many bytes came. Never waits for more. */
uint32_t service_poll(service_t *service);

/* Sends an event: 0, or -1 where the host is gone. */
int service_send_event(service_t *service, uint8_t type, const uint8_t *payload, uint32_t payload_bytes);

/* Sends a line of text, up to 120 bytes of it, to whoever listens. */
void service_log(service_t *service, service_log_level_t level, const char *text);

#endif
