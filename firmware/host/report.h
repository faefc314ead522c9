/* report.h - what the harnesses print and record: numbers, statistics of a frame, heads of records. */
#ifndef NANOU_REPORT_H
#define NANOU_REPORT_H

#include "nanou.h"
#include "target.h"

#define RECORD_OUTPUT     0xFFFFFFFFu /* the output of a frame; anything less is an operator's index */
#define RECORD_HEAD_BYTES 12u

enum { EXIT_DONE = 0, EXIT_INIT = 10, EXIT_INVOKE = 11, EXIT_STREAM = 12 };

static inline void print_number(const char *label, uint64_t value) {
    char digits[21];
    char *first = &digits[20];
    *first = '\0';
    do {
        *--first = (char)('0' + (int)(value % 10u));
        value /= 10u;
    } while (value != 0);
    target_print(label);
    target_print(first);
}

/* Counts before an empty interval, before and after what is measured; then the stack that it took. */
static inline void print_statistics(uint64_t empty, uint64_t before, uint64_t after, uint64_t stack_bytes) {
    print_number(" counts ", empty);
    print_number(" ", before);
    print_number(" ", after);
    print_number(" stack_bytes ", stack_bytes);
    target_print("\n");
}

static inline void print_error(const char *what, nanou_status_t status) {
    target_print("error ");
    target_print(what);
    target_print(": ");
    target_print(nanou_status_text(status));
    target_print("\n");
}

static inline void put_word(uint8_t *bytes, uint32_t word) {
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(word >> (8 * i));
    }
}

/* Fills RECORD_HEAD_BYTES. */
static inline void put_record_head(uint8_t *head, uint32_t kind, uint32_t frame_number, uint32_t size_bytes) {
    put_word(head, kind);
    put_word(head + 4, frame_number);
    put_word(head + 8, size_bytes);
}

#endif
