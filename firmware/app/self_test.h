/* self_test.h - does this build compute what was verified? And if not, which layer is the first that does
 * not?
 *
 * Promises: no I/O. The context's input and output frames are overwritten.
 */
#ifndef NANOU_SELF_TEST_H
#define NANOU_SELF_TEST_H

#include "profile.h"

#define SELF_TEST_NO_LAYER 0xFFFFu

typedef struct self_test {
    nanou_status_t status;   /* of the inference */
    uint32_t expected_crc32; /* of the output frame, computed when the library was generated */
    uint32_t actual_crc32;   /* 0 unless status is NANOU_OK */
    uint32_t time_us;        /* of the inference */
    uint16_t layer; /* place in app_golden_layers of the first that differs; SELF_TEST_NO_LAYER: none, or
                       not known */
    uint16_t operator_index; /* in the .tflite file, of that layer */
    const char *layer_name;  /* "" for SELF_TEST_NO_LAYER */
} self_test_t;

/* Runs the golden input through the model; where the output is wrong, once more through its traced twin. */
self_test_t self_test_run(nanou_t *net, profile_t *profile);

/* 1 if the device computes what the compiler promised, else 0. */
int self_test_passed(const self_test_t *result);

#endif
