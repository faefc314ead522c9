/* Standard input through the frame reader, each frame encoded again: what comes out is what was understood. Damaged pieces
 * are counted on standard error. The input is cut into reads of random lengths by whoever writes it. */
#include "protocol.h"

#include <stdio.h>

int main(void) {
    static protocol_reader_t reader;
    uint8_t line[PROTOCOL_LINE_BYTES];
    int byte;
    while ((byte = getchar()) != EOF) {
        protocol_frame_t frame;
        if (protocol_receive(&reader, (uint8_t)byte, &frame)) {
            const uint32_t count = protocol_encode(line, &frame.header, frame.payload, frame.payload_bytes);
            fwrite(line, 1, count, stdout);
        }
    }
    fprintf(stderr, "damaged %lu\n", (unsigned long)reader.damaged);
    return 0;
}
