/* Frames survive any payload, and nothing damaged is taken for one. */
#include "check.h"
#include "protocol.h"

static protocol_reader_t reader;
static protocol_frame_t frame;
static uint8_t line[PROTOCOL_LINE_BYTES];
static uint8_t payload[PROTOCOL_PAYLOAD_BYTES];

static const protocol_header_t header = {PROTOCOL_VERSION, 7, PROTOCOL_ANSWER, 3, 0x12345678u, 0xFFFFFFFFu};

/* How many frames the reader found in `count` bytes. */
static int receive(const uint8_t *bytes, uint32_t count) {
    int frames = 0;
    for (uint32_t i = 0; i < count; i++) {
        frames += protocol_receive(&reader, bytes[i], &frame);
    }
    return frames;
}

static int is_payload(uint32_t count) {
    int equal = frame.payload_bytes == count;
    for (uint32_t i = 0; equal && i < count; i++) {
        equal = frame.payload[i] == payload[i];
    }
    return equal;
}

/* Zeros, no zeros, and both mixed, at every length around those where COBS begins another block. */
static int all_payloads_survive(uint32_t pattern) {
    for (uint32_t count = 0; count <= PROTOCOL_PAYLOAD_BYTES; count++) {
        for (uint32_t i = 0; i < count; i++) {
            payload[i] = (uint8_t)(pattern == 0 ? 0 : pattern == 1 ? 0xFF : (i * 37u) & 0x0F);
        }
        const uint32_t line_bytes = protocol_encode(line, &header, payload, count);
        for (uint32_t i = 1; i + 1 < line_bytes; i++) {
            if (line[i] == 0) {
                return 0;
            }
        }
        if (receive(line, line_bytes) != 1 || !is_payload(count)) {
            return 0;
        }
    }
    return 1;
}

/* No single changed bit is accepted, and the frame after it is read. */
static int every_bit_is_protected(void) {
    const uint32_t line_bytes = protocol_encode(line, &header, payload, 20);
    for (uint32_t bit = 0; bit < 8 * line_bytes; bit++) {
        line[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const int accepted = receive(line, line_bytes);
        line[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* At an end, the flipped bit only adds bytes outside of the frame. */
        const int is_end = bit < 8 || bit >= 8 * (line_bytes - 1);
        if ((accepted && !is_end) || receive(line, line_bytes) != 1) {
            return 0;
        }
    }
    return 1;
}

int main(void) {
    CHECK(protocol_crc32(0, "123456789", 9) == 0xCBF43926u);
    CHECK(protocol_crc32(protocol_crc32(0, "1234", 4), "56789", 5) == 0xCBF43926u);
    CHECK(all_payloads_survive(0));
    CHECK(all_payloads_survive(1));
    CHECK(all_payloads_survive(2));
    CHECK(frame.header.type == 7 && frame.header.flags == PROTOCOL_ANSWER && frame.header.status == 3);
    CHECK(frame.header.sequence == 0x12345678u && frame.header.boot == 0xFFFFFFFFu);
    CHECK(every_bit_is_protected());

    const uint32_t line_bytes = protocol_encode(line, &header, payload, 40);
    CHECK(receive(line, line_bytes / 2) == 0); /* cut off, and sent again */
    CHECK(receive(line, line_bytes) == 1);
    CHECK(receive(line, line_bytes) == 1); /* twice: both are frames; duplicates are for others to see */
    return check_result();
}
