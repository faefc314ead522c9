/* uart.c - the harness on a simulated ESP32, -S3 or -C3: frames from the flash window, results over UART0.
 *
 * The host puts the input stream into flash at cases: its length in bytes, then the bytes. Output records go
 * out as lines of text, "#" and up to 32 bytes in hexadecimal, "*" and the CRC-32 of every record byte so
 * far; so a damaged, lost or repeated line is noticed. "exit N" ends the run. Registers: the chips' Technical
 * Reference Manuals, chapter "UART Controller"; the three used here are the same on all, from
 * NANOU_UART_BASE.
 */
#include "../target.h"
#include "machine.h"

static volatile uint32_t *const uart_fifo = (volatile uint32_t *)(NANOU_UART_BASE + 0x00u);
static volatile uint32_t *const uart_clock_divider = (volatile uint32_t *)(NANOU_UART_BASE + 0x14u);
static volatile uint32_t *const uart_status = (volatile uint32_t *)(NANOU_UART_BASE + 0x1Cu);
#define TX_FIFO_COUNT(status) (((status) >> 16) & 0x3FFu)
#define TX_FIFO_BYTES         128u

#define LINE_BYTES 32u

extern const volatile uint32_t cases[]; /* the chip's .ld file: [0] = size in bytes, then the stream */

static size_t cases_read_bytes;
static uint8_t line[LINE_BYTES];
static size_t line_bytes;
static uint32_t stream_crc = 0xFFFFFFFFu;

static void put_char(char character) {
    while (TX_FIFO_COUNT(*uart_status) >= TX_FIFO_BYTES - 2u) {
    }
    *uart_fifo = (uint8_t)character;
}

static void put_hex(uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
        put_char("0123456789abcdef"[(value >> shift) & 15u]);
    }
}

/* IEEE 802.3 CRC-32, reflected, four bits at a time. */
static uint32_t crc_step(uint32_t crc, uint8_t byte) {
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    crc ^= byte;
    crc = (crc >> 4) ^ table[crc & 15u];
    return (crc >> 4) ^ table[crc & 15u];
}

static void flush_line(void) {
    if (line_bytes == 0) {
        return;
    }
    put_char('#');
    for (size_t i = 0; i < line_bytes; i++) {
        stream_crc = crc_step(stream_crc, line[i]);
        put_hex(line[i], 2);
    }
    put_char('*');
    put_hex(~stream_crc, 8);
    put_char('\n');
    line_bytes = 0;
}

int target_open(int argc, char **argv) {
    (void)argc;
    (void)argv;
    *uart_clock_divider = 1; /* the simulator paces characters; nobody needs 115200 baud here */
    return 0;
}

size_t target_read(void *data, size_t size_bytes) {
    const volatile uint8_t *stream = (const volatile uint8_t *)&cases[1];
    uint8_t *out = data;
    size_t count = 0;
    while (count < size_bytes && cases_read_bytes < cases[0]) {
        out[count++] = stream[cases_read_bytes++];
    }
    return count;
}

int target_write(const void *data, size_t size_bytes) {
    const uint8_t *in = data;
    for (size_t i = 0; i < size_bytes; i++) {
        line[line_bytes++] = in[i];
        if (line_bytes == LINE_BYTES) {
            flush_line();
        }
    }
    return 0;
}

int target_close(void) {
    flush_line();
    return 0;
}

void target_print(const char *text) {
    while (*text != '\0') {
        put_char(*text++);
    }
}

void machine_exit(int result) {
    target_print("\nexit ");
    put_hex((uint32_t)result, 2);
    put_char('\n');
    for (;;) {
    }
}
