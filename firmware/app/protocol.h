/* protocol.h - frames on the line: COBS between zero bytes, a header, at most 256 bytes, a CRC-32.
 *
 * Promises: no I/O, no heap, no globals. Any sequence of bytes may be fed to the reader; it gives a frame
 * only if all of it arrived undamaged, and is in step again at the next zero byte. docs/PROTOCOL.md is the
 * specification.
 */
#ifndef NANOU_PROTOCOL_H
#define NANOU_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION       2u
#define PROTOCOL_HEADER_BYTES  12u
#define PROTOCOL_PAYLOAD_BYTES 256u
#define PROTOCOL_CRC_BYTES     4u
#define PROTOCOL_BODY_BYTES    (PROTOCOL_HEADER_BYTES + PROTOCOL_PAYLOAD_BYTES + PROTOCOL_CRC_BYTES)
/* COBS adds one byte, and one more for each 254; a zero at both ends. */
#define PROTOCOL_LINE_BYTES (PROTOCOL_BODY_BYTES + 1u + PROTOCOL_BODY_BYTES / 254u + 2u)

enum { PROTOCOL_ANSWER = 1, PROTOCOL_EVENT = 2, PROTOCOL_UNPROVEN = 4 }; /* flags */

typedef struct protocol_header {
    uint8_t version;
    uint8_t type;
    uint8_t flags;
    uint8_t status;
    uint32_t sequence;
    uint32_t boot;
} protocol_header_t;

/* One direction of a line. Cleared to zeros is ready. */
typedef struct protocol_reader {
    uint8_t body[PROTOCOL_BODY_BYTES]; /* decoded so far */
    uint16_t body_bytes;
    uint8_t block_left; /* bytes that are missing of the COBS block */
    uint8_t started;    /* something since the last zero */
    uint8_t zero_due;   /* the last block stands for a zero, if another one follows */
    uint8_t refused;    /* this piece cannot become a frame */
    uint32_t damaged;   /* pieces between zeros that were no frames, since the start */
} protocol_reader_t;

/* A received frame. The payload lies in the reader and is valid until the next protocol_receive. */
typedef struct protocol_frame {
    protocol_header_t header;
    const uint8_t *payload;
    uint32_t payload_bytes;
    uint32_t crc32; /* of the frame, as received */
} protocol_frame_t;

/* Takes one byte: 1 where it completes an undamaged frame, of any version, which is then in `frame`; else 0.
 */
int protocol_receive(protocol_reader_t *reader, uint8_t byte, protocol_frame_t *frame);

/* Writes the bytes for the line, a zero at both ends; returns how many. payload_bytes <=
 * PROTOCOL_PAYLOAD_BYTES. */
uint32_t protocol_encode(uint8_t line[PROTOCOL_LINE_BYTES], const protocol_header_t *header,
                         const uint8_t *payload, uint32_t payload_bytes);

/* IEEE 802.3 CRC-32 of `bytes` behind what `crc32` is the CRC-32 of; 0 to begin. */
uint32_t protocol_crc32(uint32_t crc32, const void *bytes, uint32_t count);

/* Little-endian numbers at any address. */
uint16_t protocol_get_u16(const uint8_t *bytes);
uint32_t protocol_get_u32(const uint8_t *bytes);
void protocol_put_u16(uint8_t *bytes, uint16_t value);
void protocol_put_u32(uint8_t *bytes, uint32_t value);

#endif
