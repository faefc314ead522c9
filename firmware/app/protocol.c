#include "protocol.h"

/* ---- Numbers ----------------------------------------------------------------------------------- */

uint16_t protocol_get_u16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | (uint32_t)bytes[1] << 8);
}

uint32_t protocol_get_u32(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void protocol_put_u16(uint8_t *bytes, uint16_t value) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

void protocol_put_u32(uint8_t *bytes, uint32_t value) {
    protocol_put_u16(bytes, (uint16_t)value);
    protocol_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

/* Four bits at a time: a table of 64 bytes, and fast enough for every frame of the line. */
uint32_t protocol_crc32(uint32_t crc32, const void *bytes, uint32_t count) {
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *in = bytes;
    uint32_t crc = ~crc32;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= in[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

/* ---- Receiving --------------------------------------------------------------------------------- */

static void append(protocol_reader_t *reader, uint8_t byte) {
    if (reader->body_bytes < PROTOCOL_BODY_BYTES) {
        reader->body[reader->body_bytes++] = byte;
    } else {
        reader->refused = 1;
    }
}

/* COBS: a block is its length plus one, then so many bytes; it stands for a zero behind them, unless it is as
 * long as a block can be or the last one. */
static void decode(protocol_reader_t *reader, uint8_t byte) {
    if (reader->block_left > 0) {
        reader->block_left--;
        append(reader, byte);
        return;
    }
    if (reader->zero_due) {
        append(reader, 0);
    }
    reader->block_left = (uint8_t)(byte - 1u);
    reader->zero_due = byte != 0xFFu;
}

static int is_frame(const protocol_reader_t *reader) {
    const uint32_t least_bytes = PROTOCOL_HEADER_BYTES + PROTOCOL_CRC_BYTES;
    if (reader->refused || reader->block_left > 0 || reader->body_bytes < least_bytes) {
        return 0;
    }
    const uint32_t checked_bytes = reader->body_bytes - PROTOCOL_CRC_BYTES;
    return protocol_crc32(0, reader->body, checked_bytes) == protocol_get_u32(reader->body + checked_bytes);
}

static void read_frame(const protocol_reader_t *reader, protocol_frame_t *frame) {
    const uint8_t *body = reader->body;
    frame->header.version = body[0];
    frame->header.type = body[1];
    frame->header.flags = body[2];
    frame->header.status = body[3];
    frame->header.sequence = protocol_get_u32(body + 4);
    frame->header.boot = protocol_get_u32(body + 8);
    frame->payload = body + PROTOCOL_HEADER_BYTES;
    frame->payload_bytes = reader->body_bytes - PROTOCOL_HEADER_BYTES - PROTOCOL_CRC_BYTES;
    frame->crc32 = protocol_get_u32(body + reader->body_bytes - PROTOCOL_CRC_BYTES);
}

int protocol_receive(protocol_reader_t *reader, uint8_t byte, protocol_frame_t *frame) {
    if (byte != 0) {
        if (!reader->started) {
            reader->started = 1;
            reader->body_bytes = 0;
            reader->block_left = 0;
            reader->zero_due = 0;
            reader->refused = 0;
        }
        decode(reader, byte);
        return 0;
    }
    if (!reader->started) {
        return 0;
    }
    reader->started = 0;
    if (!is_frame(reader)) {
        reader->damaged++;
        return 0;
    }
    read_frame(reader, frame);
    return 1;
}

/* ---- Sending ----------------------------------------------------------------------------------- */

typedef struct encoder {
    uint8_t *line;
    uint32_t code; /* where the length of the present block goes */
    uint32_t end;
} encoder_t;

static void end_block(encoder_t *encoder) {
    encoder->line[encoder->code] = (uint8_t)(encoder->end - encoder->code);
    encoder->code = encoder->end++;
}

static void encode(encoder_t *encoder, const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (encoder->end - encoder->code == 0xFFu) {
            end_block(encoder); /* full, and more follows */
        }
        if (bytes[i] == 0) {
            end_block(encoder);
        } else {
            encoder->line[encoder->end++] = bytes[i];
        }
    }
}

uint32_t protocol_encode(uint8_t line[PROTOCOL_LINE_BYTES], const protocol_header_t *header,
                         const uint8_t *payload, uint32_t payload_bytes) {
    uint8_t head[PROTOCOL_HEADER_BYTES] = {header->version, header->type, header->flags, header->status};
    uint8_t crc[PROTOCOL_CRC_BYTES];
    encoder_t encoder = {line, 1, 2};
    protocol_put_u32(head + 4, header->sequence);
    protocol_put_u32(head + 8, header->boot);
    protocol_put_u32(crc,
                     protocol_crc32(protocol_crc32(0, head, PROTOCOL_HEADER_BYTES), payload, payload_bytes));
    line[0] = 0;
    encode(&encoder, head, PROTOCOL_HEADER_BYTES);
    encode(&encoder, payload, payload_bytes);
    encode(&encoder, crc, PROTOCOL_CRC_BYTES);
    line[encoder.code] = (uint8_t)(encoder.end - encoder.code);
    line[encoder.end++] = 0;
    return encoder.end;
}
