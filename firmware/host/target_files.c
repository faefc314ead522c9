/* target_files.c - the harness on an operating system: `harness INPUT OUTPUT`. */
#include "target.h"

#include <stdio.h>

static FILE *input;
static FILE *output;

int target_open(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: harness INPUT OUTPUT\n", stderr);
        return -1;
    }
    input = fopen(argv[1], "rb");
    output = fopen(argv[2], "wb");
    if (input == NULL || output == NULL) {
        perror(input == NULL ? argv[1] : argv[2]);
        return -1;
    }
    return 0;
}

size_t target_read(void *data, size_t size_bytes) {
    return fread(data, 1, size_bytes, input);
}

int target_write(const void *data, size_t size_bytes) {
    return fwrite(data, 1, size_bytes, output) == size_bytes ? 0 : -1;
}

int target_close(void) {
    fclose(input);
    return fclose(output) == 0 ? 0 : -1;
}

void target_print(const char *text) {
    fputs(text, stdout);
    fflush(stdout); /* a crash must not swallow what came before it */
}
