#include "text.h"

void text_add(text_t *text, const char *more) {
    for (uint32_t i = 0; more[i] != '\0' && text->count + 1u < TEXT_BYTES; i++) {
        text->characters[text->count++] = more[i];
    }
    text->characters[text->count] = '\0';
}

void text_add_number(text_t *text, int32_t number) {
    char digits[12];
    uint32_t first = sizeof digits - 1u;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + rest % 10u);
        rest /= 10u;
    } while (rest > 0);
    if (number < 0) {
        digits[--first] = '-';
    }
    text_add(text, digits + first);
}

void text_add_tenths(text_t *text, uint32_t thousandths) {
    text_add_number(text, (int32_t)(thousandths / 1000u));
    text_add(text, ".");
    text_add_number(text, (int32_t)(thousandths % 1000u / 100u));
}
