/* messages.h - the messages of docs/PROTOCOL.md: types, statuses and where each field of a payload lies.
 *
 * X_AT is a field's offset in its payload, X_BYTES the size of a payload or of a part of one. Numbers are
 * little endian (protocol_get_u16, ...).
 */
#ifndef NANOU_MESSAGES_H
#define NANOU_MESSAGES_H

typedef enum answer_status {
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
} answer_status_t;

enum { REQUEST_INFO = 1, REQUEST_WRITE, REQUEST_READ, REQUEST_INFER, REQUEST_GOLDEN, REQUEST_BENCH };
enum { REQUEST_CAPTURE = 7, REQUEST_STREAM, REQUEST_RESTART, REQUEST_RESET, REQUEST_MOTORS };
enum { REQUEST_REHEARSE = 12, REQUEST_TUNE };
enum { EVENT_LOG = 64, EVENT_STREAM = 65 };

/* ---- INFO -------------------------------------------------------------------------------------- */

enum { INFO_PAGE_AT = 0, INFO_BYTES = 1 };
enum { INFO_TENSOR_AT = 1, INFO_TENSOR_BYTES = 2 }; /* of PAGE_TENSOR */
enum { PAGE_NUMBERS = 0, PAGE_BOARD, PAGE_RUNTIME, PAGE_MODEL, PAGE_BUILD, PAGE_RESET_REASON, PAGE_TENSOR };
enum { SELF_TEST_NOT_RUN = 0, SELF_TEST_PASSED = 1, SELF_TEST_FAILED = 2 };
enum {
    FEATURE_CAMERA = 1,
    FEATURE_CYCLES = 2,
    FEATURE_VISION = 4,
    FEATURE_LAYERS = 8,
    FEATURE_REHEARSAL = 16,
    FEATURE_TUNING = 32
};

/* ---- WRITE, READ ------------------------------------------------------------------------------- */

enum { BUFFER_INPUT = 0, BUFFER_OUTPUT, BUFFER_FRAME, BUFFER_MASK };
/* Both begin with it. */
enum { PIECE_BUFFER_AT = 0, PIECE_NUMBER_AT = 1, PIECE_OFFSET_AT = 2, PIECE_HEAD_BYTES = 6 };
enum { READ_COUNT_AT = PIECE_HEAD_BYTES, READ_BYTES = 8 };

/* ---- INFER ------------------------------------------------------------------------------------- */

enum { SOURCE_INPUTS = 0, SOURCE_HOST_FRAME, SOURCE_CAPTURED, SOURCES };
enum { INFER_SOURCE_AT = 0, INFER_BIG_ENDIAN_AT = 1, INFER_WIDTH_AT = 2, INFER_HEIGHT_AT = 4 };
enum { INFER_MODEL_AT = 6, INFER_CRC32_AT = 14, INFER_BYTES = 18 };
enum { MODEL_PREFIX_BYTES = INFER_CRC32_AT - INFER_MODEL_AT };

/* The decision and the stages, in the answer to INFER and in the head of a streamed picture. */
enum { DECISION_GO_AT = 0, DECISION_STEER_AT = 1, DECISION_LEFT_AT = 2, DECISION_CENTRE_AT = 4 };
enum { DECISION_RIGHT_AT = 6, DECISION_BYTES = 8 };
enum { STAGES_CAPTURE_AT = 0, STAGES_PREPROCESSING_AT = 4, STAGES_MODEL_AT = 8, STAGES_MASK_AT = 12 };
enum { STAGES_BYTES = 16 };

/* ---- BENCH ------------------------------------------------------------------------------------- */

enum { BENCH_WHOLE = 0, BENCH_TRACED = 1, BENCH_LAYER = 2 };
enum { BENCH_WHAT_AT = 0, BENCH_LAYER_AT = 1, BENCH_BYTES = 3 };

/* ---- STREAM ------------------------------------------------------------------------------------ */

enum {
    STREAM_ON_AT = 0,
    STREAM_SHRINK_AT = 1,
    STREAM_INTERVAL_AT = 2,
    STREAM_LEASE_AT = 4,
    STREAM_BYTES = 6
};

/* ---- TUNE -------------------------------------------------------------------------------------- */

enum { TUNE_THRESHOLD_AT = 0, TUNE_GO_AT = 2, TUNE_STOP_AT = 4, TUNE_TURN_AT = 6, TUNE_STRAIGHT_AT = 8 };
enum { TUNE_START_PICTURES_AT = 10, TUNE_STALE_AT = 12, TUNE_BYTES = 14 };

/* ---- Events ------------------------------------------------------------------------------------ */

enum { LOG_ERROR = 0, LOG_WARNING = 1, LOG_INFORMATION = 2 };
enum { LOG_LEVEL_AT = 0, LOG_TIME_AT = 1, LOG_TEXT_AT = 5 };

enum { PICTURE_HEAD = 0, PICTURE_MASK = 1, PICTURE_PIXELS = 2 }; /* kinds of STREAM events */
enum { PICTURE_KIND_AT = 0, PICTURE_NUMBER_AT = 1 };             /* all begin with it */
enum { PICTURE_OFFSET_AT = 5, PICTURE_PIECE_AT = 9 };            /* a piece of the mask or of the pixels */
enum { HEAD_MASK_WIDTH_AT = 5, HEAD_MASK_HEIGHT_AT = 7, HEAD_MASK_CRC32_AT = 9, HEAD_DECISION_AT = 13 };
enum { HEAD_FPS_TENTHS_AT = 21, HEAD_WIDTH_AT = 23, HEAD_HEIGHT_AT = 25, HEAD_BIG_ENDIAN_AT = 27 };
enum { HEAD_CRC32_AT = 28, HEAD_STAGES_AT = 32, HEAD_BYTES = HEAD_STAGES_AT + STAGES_BYTES };

#endif
