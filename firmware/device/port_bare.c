/* port_bare.c - the application on a simulated chip: the line is its UART, nothing else is used.
 *
 * Registers: ESP32 technical reference manual, chapter "UART Controller"; the same on the ESP32-S3, C3 and
 * C6. The simulated ESP32 receives nothing (NANOU_MAILBOX): the simulator puts bytes into a ring in RAM
 * instead, see nanou_deploy/device/simulator.py. Sending is by the UART on all of them.
 */
#include "../host/bare/machine.h"
#include "../host/measure.h"
#include "device.h"
#include "port.h"

#define UART_FIFO          (*(volatile uint32_t *)NANOU_UART_BASE)
#define UART_CLOCK_DIVIDER (*(volatile uint32_t *)(NANOU_UART_BASE + 0x14u))
#define UART_STATUS        (*(volatile uint32_t *)(NANOU_UART_BASE + 0x1Cu))
#define RX_COUNT(status)   ((status) & 0xFFu)
#define TX_COUNT(status)   (((status) >> 16) & 0xFFu)
#define FIFO_BYTES         128u

#define KEPT __attribute__((section(".retained")))

/* Survives port_restart; zeros after power-on. */
static KEPT struct {
    uint32_t boots;
    uint32_t trapped; /* the last boot ended in an exception: */
    uint32_t trap_cause;
    uint32_t trap_pc;
} retained;

static char trap_text[] = "exception 00000000 at 00000000";
static const char *reason = "power-on";
static uintptr_t stack_top;

void _start(void); /* start.S */

/* ---- Line -------------------------------------------------------------------------------------- */

#ifdef NANOU_MAILBOX
#define MAILBOX_BYTES 512u

/* A word for each byte, because that is what the simulator can write. */
static __attribute__((section(".mailbox"), used)) volatile struct {
    uint32_t written; /* bytes so far, by the simulator */
    uint32_t taken;
    uint32_t bytes[MAILBOX_BYTES];
} mailbox;

static uint32_t waiting_bytes(void) {
    return mailbox.written - mailbox.taken;
}

static uint8_t take_byte(void) {
    const uint8_t byte = (uint8_t)mailbox.bytes[mailbox.taken % MAILBOX_BYTES];
    mailbox.taken++;
    return byte;
}
#else
static uint32_t waiting_bytes(void) {
    return RX_COUNT(UART_STATUS);
}

static uint8_t take_byte(void) {
    return (uint8_t)UART_FIFO;
}
#endif

uint32_t port_read(uint8_t *bytes, uint32_t capacity) {
    uint32_t count = waiting_bytes();
    count = count < capacity ? count : capacity;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = take_byte();
    }
    return count;
}

int port_write(const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        while (TX_COUNT(UART_STATUS) >= FIFO_BYTES - 2u) { /* the UART always drains */
        }
        UART_FIFO = bytes[i];
    }
    return 0;
}

int port_write_from_alarm(const uint8_t *bytes, uint32_t count) {
    return port_write(bytes, count); /* there is no timer: vehicle_watch calls it */
}

/* ---- Time -------------------------------------------------------------------------------------- */

/* Counters of 32 bits are extended here; somebody asks more often than they wrap. */
static inline uint64_t cycles_since_boot(void) {
    static uint32_t high, last;
    const uint32_t low = (uint32_t)instruction_count();
    high += low < last;
    last = low;
    return (uint64_t)high << 32 | low;
}

void port_read_time_us(uint64_t *time_us) {
    *time_us = cycles_since_boot() / NANOU_CPU_MHZ;
}

const uint8_t port_has_cycles = 1;

uint32_t port_cycles(void) {
    return (uint32_t)instruction_count();
}

void port_idle(void) {
    (void)cycles_since_boot();
}

/* ---- Board ------------------------------------------------------------------------------------- */

port_memory_t port_memory(void) {
    const port_memory_t memory = {STACK_PAINT_BYTES - stack_used_bytes(stack_top), 0, 0};
    return memory;
}

const char *port_board(void) {
    return DEVICE_TEXT(NANOU_BOARD);
}

const char *port_reset_reason(void) {
    return reason;
}

/* Nothing in a simulator is random; but a restart is another boot. */
uint32_t port_boot_number(void) {
    return retained.boots;
}

void port_restart(void) {
    _start();
}

static void put_hex(char *digits, uint32_t value) {
    for (int i = 7; i >= 0; i--, value >>= 4) {
        digits[i] = "0123456789abcdef"[value & 15u];
    }
}

/* Decides why the program is here again. */
static void note_boot(void) {
    if (retained.boots++ == 0) {
        return;
    }
    reason = "restart";
    if (retained.trapped) {
        put_hex(trap_text + 10, retained.trap_cause);
        put_hex(trap_text + 22, retained.trap_pc);
        reason = trap_text;
        retained.trapped = 0;
    }
}

int device_open(int argc, char **argv) {
    (void)argc;
    (void)argv;
    stack_top = stack_pointer();
    stack_paint(stack_top);
    UART_CLOCK_DIVIDER = 1; /* the simulator paces characters; nobody needs 115200 baud here */
    note_boot();
    return 0;
}

int device_is_open(void) {
    return 1;
}

void machine_exit(int result) {
    (void)result;
    for (;;) {
        port_restart();
    }
}

void machine_trap(uint32_t cause, uint32_t pc, uint32_t address) {
    (void)address;
    retained.trapped = 1;
    retained.trap_cause = cause;
    retained.trap_pc = pc;
    for (;;) {
        port_restart();
    }
}

/* ---- Camera ------------------------------------------------------------------------------------ */

int port_camera_take(camera_frame_t *frame) {
    (void)frame;
    return PORT_CAMERA_NONE;
}

void port_camera_give(void) {}

void port_camera_orient(uint8_t flip_vertical, uint8_t flip_horizontal) {
    (void)flip_vertical;
    (void)flip_horizontal;
}
