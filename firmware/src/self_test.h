/* self_test.h - does this build compute what was verified? Portable C99. */
#ifndef NANOU_SELF_TEST_H
#define NANOU_SELF_TEST_H

#include "nanou.h"

typedef struct self_test {
    nanou_status_t status;   /* of the inference */
    uint32_t expected_crc32; /* of the output frame, computed when the library was generated */
    uint32_t actual_crc32;   /* 0 unless status is NANOU_OK */
} self_test_t;

/* Runs the golden input through the model. The context's input and output frames are overwritten. */
self_test_t self_test_run(nanou_t *net);

/* 1 if the device computes what the compiler promised, else 0. */
int self_test_passed(const self_test_t *result);

#endif
