/* motors_esp.c - the motors on ESP-IDF: PWM by LEDC, a UART, the arm input, and the alarm that stops them.
 *
 * LEDC's timer 0 and channel 0 clock the camera of an ESP32 (camera_esp.c); those above are for motors. A pin
 * that the camera or the line to the host uses is refused.
 */
#include "camera_pins.h"
#include "driver/gpio.h"
#include "driver/ledc.h"
#include "driver/uart.h"
#include "esp_check.h"
#include "esp_log.h"
#include "esp_timer.h"
#include "nanou_user.h"
#include "port.h"
#include "port_esp.h"
#include "sdkconfig.h"
#include "soc/uart_pins.h"
#include "vehicle.h"

#define PWM_MODE            LEDC_LOW_SPEED_MODE
#define PWM_CLOCK_HZ        80000000u /* of the clocks that LEDC_AUTO_CLK finds; it decides the resolution */
#define RESOLUTION_MOST     14u       /* bits, on every chip */
#define FIRST_TIMER         LEDC_TIMER_1
#define TIMERS              3u
#define FIRST_CHANNEL       LEDC_CHANNEL_1
#define MOTOR_UART          UART_NUM_1
#define SERIAL_BUFFER_BYTES 256

#if !CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG && CONFIG_ESP_CONSOLE_UART_NUM == 1
#error "The line to the host is UART 1, which is the motors'"
#endif

static const char *const tag = "motors";

static struct {
    uint32_t frequency_hz; /* 0: free */
    uint32_t resolution_bits;
} timers[TIMERS];

static struct {
    uint32_t timer;
    uint32_t period_ns;
} channels[NANOU_PWM_CHANNELS];

static gpio_num_t arm_pin = GPIO_NUM_NC;
static esp_timer_handle_t alarm;

/* ---- Pins -------------------------------------------------------------------------------------- */

static int is_taken(int32_t pin) {
    static const int16_t taken[] = {
#if NANOU_HAS_CAMERA
        PIN_POWER_DOWN, PIN_RESET,      PIN_CLOCK, PIN_SDA, PIN_SCL, PIN_D0,    PIN_D1,   PIN_D2,
        PIN_D3,         PIN_D4,         PIN_D5,    PIN_D6,  PIN_D7,  PIN_VSYNC, PIN_HREF, PIN_PIXEL_CLOCK,
#endif
#if !CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG
        U0TXD_GPIO_NUM, U0RXD_GPIO_NUM,
#endif
        GPIO_NUM_NC,
    };
    for (uint32_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (pin == taken[i]) {
            ESP_LOGE(tag, "GPIO %d is none, the camera's or the host's", (int)pin);
            return 1;
        }
    }
    return 0;
}

static int is_output(int32_t pin) {
    return pin >= 0 && GPIO_IS_VALID_OUTPUT_GPIO(pin) && !is_taken(pin);
}

static int is_input(int32_t pin) {
    return pin >= 0 && GPIO_IS_VALID_GPIO(pin) && !is_taken(pin);
}

/* 0, or -1 after saying what failed. */
static int check(esp_err_t error, const char *what) {
    if (error != ESP_OK) {
        ESP_LOGE(tag, "%s: %s", what, esp_err_to_name(error));
    }
    return error == ESP_OK ? 0 : -1;
}

/* ---- PWM --------------------------------------------------------------------------------------- */

/* The timer of this frequency, begun if there is none yet; TIMERS where none is left. */
static uint32_t find_timer(uint32_t frequency_hz) {
    for (uint32_t i = 0; i < TIMERS; i++) {
        if (timers[i].frequency_hz == frequency_hz) {
            return i;
        }
        if (timers[i].frequency_hz != 0) {
            continue;
        }
        const uint32_t bits = ledc_find_suitable_duty_resolution(PWM_CLOCK_HZ, frequency_hz);
        const ledc_timer_config_t config = {
            .speed_mode = PWM_MODE,
            .duty_resolution = (ledc_timer_bit_t)(bits < RESOLUTION_MOST ? bits : RESOLUTION_MOST),
            .timer_num = (ledc_timer_t)(FIRST_TIMER + i),
            .freq_hz = frequency_hz,
            .clk_cfg = LEDC_AUTO_CLK,
        };
        if (bits == 0 || check(ledc_timer_config(&config), "PWM timer") != 0) {
            return TIMERS;
        }
        timers[i].frequency_hz = frequency_hz;
        timers[i].resolution_bits = config.duty_resolution;
        return i;
    }
    return TIMERS;
}

/* Of 2 to the power of the timer's resolution, which is always on. */
static uint32_t duty_of(uint32_t channel, uint32_t pulse_ns) {
    const uint32_t bits = timers[channels[channel].timer].resolution_bits;
    return (uint32_t)(((uint64_t)pulse_ns << bits) / channels[channel].period_ns);
}

int port_pwm_begin(uint32_t channel, int32_t pin, uint32_t frequency_hz, uint32_t pulse_ns) {
    const uint32_t timer = is_output(pin) ? find_timer(frequency_hz) : TIMERS;
    if (timer == TIMERS) {
        return -1;
    }
    channels[channel].timer = timer;
    channels[channel].period_ns = 1000000000u / frequency_hz;
    const ledc_channel_config_t config = {
        .gpio_num = (int)pin,
        .speed_mode = PWM_MODE,
        .channel = (ledc_channel_t)(FIRST_CHANNEL + channel),
        .timer_sel = (ledc_timer_t)(FIRST_TIMER + timer),
        .duty = duty_of(channel, pulse_ns),
    };
    if (check(ledc_channel_config(&config), "PWM channel") != 0) {
        return -1;
    }
    /* ledc_set_duty_and_update, the one that tasks may call at the same time, needs the fade service. */
    const esp_err_t installed = ledc_fade_func_install(0);
    return installed == ESP_ERR_INVALID_STATE ? 0 : check(installed, "PWM service");
}

void port_pwm_write(uint32_t channel, uint32_t pulse_ns) {
    (void)check(ledc_set_duty_and_update(PWM_MODE, (ledc_channel_t)(FIRST_CHANNEL + channel),
                                         duty_of(channel, pulse_ns), 0),
                "PWM");
}

/* ---- Serial ------------------------------------------------------------------------------------ */

int port_serial_begin(int32_t tx_pin, int32_t rx_pin, uint32_t baud) {
    const uart_config_t config = {
        .baud_rate = (int)baud,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
        .source_clk = UART_SCLK_DEFAULT,
    };
    if (!is_output(tx_pin) || (rx_pin >= 0 && !is_input(rx_pin))) {
        return -1;
    }
    if (check(uart_driver_install(MOTOR_UART, SERIAL_BUFFER_BYTES, SERIAL_BUFFER_BYTES, 0, NULL, 0),
              "UART") != 0 ||
        check(uart_param_config(MOTOR_UART, &config), "UART rate") != 0) {
        return -1;
    }
    const int rx = rx_pin < 0 ? UART_PIN_NO_CHANGE : (int)rx_pin;
    return check(uart_set_pin(MOTOR_UART, (int)tx_pin, rx, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE),
                 "UART pins");
}

void port_serial_write(const uint8_t *bytes, uint32_t count) {
    (void)uart_write_bytes(MOTOR_UART, bytes, count);
}

uint32_t port_serial_read(uint8_t *bytes, uint32_t capacity) {
    const int count = uart_read_bytes(MOTOR_UART, bytes, capacity, 0);
    return count > 0 ? (uint32_t)count : 0;
}

/* ---- Arm input --------------------------------------------------------------------------------- */

int port_arm_begin(int32_t pin) {
    if (!is_input(pin)) {
        return -1;
    }
    const gpio_config_t config = {
        .pin_bit_mask = 1ull << (uint32_t)pin,
        .mode = GPIO_MODE_INPUT,
        .pull_up_en = GPIO_PULLUP_ENABLE,
        .pull_down_en = GPIO_PULLDOWN_DISABLE,
        .intr_type = GPIO_INTR_DISABLE,
    };
    arm_pin = (gpio_num_t)pin;
    return check(gpio_config(&config), "arm input");
}

int port_is_armed(void) {
    return gpio_get_level(arm_pin) == 0;
}

/* ---- Alarm ------------------------------------------------------------------------------------- */

const uint8_t port_motors_are_recorded = 0;

static void expire(void *unused) {
    (void)unused;
    vehicle_expire();
}

void motors_esp_begin(void) {
    const esp_timer_create_args_t timer = {.callback = expire, .name = "motors"};
    ESP_ERROR_CHECK(esp_timer_create(&timer, &alarm));
}

void port_alarm(uint32_t delay_us) {
    (void)esp_timer_stop(alarm);
    if (delay_us > 0) {
        ESP_ERROR_CHECK(esp_timer_start_once(alarm, delay_us));
    }
}
