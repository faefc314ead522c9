/* port_esp.c - the application on ESP-IDF: line, time, watchdog, memory.
 *
 * The line is the console that sdkconfig chose: USB Serial/JTAG where the chip and the board have it, else a
 * UART. Once the application has begun, log lines of its own task go there between frames; those of other
 * tasks would fall into one and are dropped.
 */
#include "port_esp.h"

#include <stdarg.h>
#include <stdio.h>

#include "driver/uart.h"
#include "esp_check.h"
#include "esp_cpu.h"
#include "esp_heap_caps.h"
#include "esp_log.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "port.h"
#include "sdkconfig.h"

#if CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG
#include "driver/usb_serial_jtag.h"
#endif

#define LINE_BUFFER_BYTES 4096
#define WRITE_PIECE_BYTES 256u
#define WRITE_WAIT_MS     200
#define REST_US           100000u /* the idle tasks must run within the watchdog's time */
#define LOG_LINE_BYTES    160

static TaskHandle_t application_task;
static SemaphoreHandle_t line_lock; /* so that no task writes into another one's frame */
static uint64_t rested_us;

/* ---- Line -------------------------------------------------------------------------------------- */

#if CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG

static void line_open(void) {
    usb_serial_jtag_driver_config_t config = {.tx_buffer_size = LINE_BUFFER_BYTES,
                                              .rx_buffer_size = LINE_BUFFER_BYTES};
    ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&config));
}

static uint32_t line_read(uint8_t *bytes, uint32_t capacity) {
    const int count = usb_serial_jtag_read_bytes(bytes, capacity, 0);
    return count > 0 ? (uint32_t)count : 0;
}

/* Nobody may be reading at the other end, so waiting has an end. */
static int line_write(const uint8_t *bytes, uint32_t count) {
    return usb_serial_jtag_write_bytes(bytes, count, pdMS_TO_TICKS(WRITE_WAIT_MS)) == (int)count ? 0 : -1;
}

#else

#define LINE_UART ((uart_port_t)CONFIG_ESP_CONSOLE_UART_NUM)

static void line_open(void) {
    ESP_ERROR_CHECK(uart_driver_install(LINE_UART, LINE_BUFFER_BYTES, LINE_BUFFER_BYTES, 0, NULL, 0));
}

static uint32_t line_read(uint8_t *bytes, uint32_t capacity) {
    const int count = uart_read_bytes(LINE_UART, bytes, capacity, 0);
    return count > 0 ? (uint32_t)count : 0;
}

/* Without flow control a UART always empties its buffer, at its own rate. */
static int line_write(const uint8_t *bytes, uint32_t count) {
    return uart_write_bytes(LINE_UART, bytes, count) == (int)count ? 0 : -1;
}

#endif

uint32_t port_read(uint8_t *bytes, uint32_t capacity) {
    return line_read(bytes, capacity);
}

static int write_pieces(const uint8_t *bytes, uint32_t count) {
    for (uint32_t sent = 0; sent < count;) {
        const uint32_t rest = count - sent;
        const uint32_t piece = rest < WRITE_PIECE_BYTES ? rest : WRITE_PIECE_BYTES;
        if (line_write(bytes + sent, piece) != 0) {
            return -1;
        }
        sent += piece;
    }
    return 0;
}

int port_write(const uint8_t *bytes, uint32_t count) {
    (void)xSemaphoreTake(line_lock, portMAX_DELAY); /* the alarm's lines are short */
    const int result = write_pieces(bytes, count);
    (void)xSemaphoreGive(line_lock);
    return result;
}

int port_write_from_alarm(const uint8_t *bytes, uint32_t count) {
    if (xSemaphoreTake(line_lock, 0) != pdTRUE) {
        return -1;
    }
    const int result = write_pieces(bytes, count);
    (void)xSemaphoreGive(line_lock);
    return result;
}

static int log_line(const char *format, va_list arguments) {
    char text[LOG_LINE_BYTES];
    if (xTaskGetCurrentTaskHandle() != application_task) {
        return 0;
    }
    const int wanted = vsnprintf(text, sizeof text, format, arguments);
    const int count = wanted < (int)sizeof text ? wanted : (int)sizeof text - 1;
    return count > 0 && port_write((const uint8_t *)text, (uint32_t)count) == 0 ? count : 0;
}

/* ---- Time, watchdog ---------------------------------------------------------------------------- */

void port_read_time_us(uint64_t *time_us) {
    *time_us = (uint64_t)esp_timer_get_time();
}

const uint8_t port_has_cycles = 1;

uint32_t port_cycles(void) {
    return (uint32_t)esp_cpu_get_cycle_count();
}

void port_idle(void) {
    (void)esp_task_wdt_reset();
    vTaskDelay(1);
    rested_us = port_time_us();
}

void port_esp_round(void) {
    (void)esp_task_wdt_reset();
    if (port_time_us() - rested_us > REST_US) {
        port_idle();
    }
}

/* ---- Board ------------------------------------------------------------------------------------- */

port_memory_t port_memory(void) {
    const port_memory_t memory = {
        .stack_free_bytes = (uint32_t)(uxTaskGetStackHighWaterMark(NULL) * sizeof(StackType_t)),
        .heap_free_bytes = (uint32_t)heap_caps_get_free_size(MALLOC_CAP_INTERNAL),
        .heap_least_bytes = (uint32_t)heap_caps_get_minimum_free_size(MALLOC_CAP_INTERNAL),
    };
    return memory;
}

const char *port_board(void) {
    return CONFIG_NANOU_BOARD;
}

const char *port_reset_reason(void) {
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
        return "power-on";
    case ESP_RST_EXT:
        return "reset pin";
    case ESP_RST_SW:
        return "restart";
    case ESP_RST_PANIC:
        return "exception";
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return "watchdog";
    case ESP_RST_DEEPSLEEP:
        return "deep sleep";
    case ESP_RST_BROWNOUT:
    case ESP_RST_PWR_GLITCH:
        return "brown-out";
    case ESP_RST_USB:
    case ESP_RST_JTAG:
        return "debugger";
    default:
        return "unknown";
    }
}

uint32_t port_boot_number(void) {
    static uint32_t number;
    while (number == 0) {
        number = esp_random();
    }
    return number;
}

void port_restart(void) {
    vTaskDelay(pdMS_TO_TICKS(100)); /* the answer is on its way */
    esp_restart();
}

/* ---- Begin ------------------------------------------------------------------------------------- */

void port_esp_begin(void) {
    static StaticSemaphore_t memory;
    motors_esp_begin();
    line_lock = xSemaphoreCreateMutexStatic(&memory);
    line_open();
    application_task = xTaskGetCurrentTaskHandle();
    (void)esp_log_set_vprintf(log_line);
    ESP_ERROR_CHECK(esp_task_wdt_add(NULL));
}
