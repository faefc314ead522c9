/* camera_esp.c - the camera of an ESP32 board, by Espressif's esp32-camera (OV2640, OV3660, OV5640).
 *
 * The newest picture counts, so the driver overwrites what nobody took (CAMERA_GRAB_LATEST, two buffers). A
 * camera that gives nothing is switched off and on again, after pauses that double; where that has failed for
 * too long, only a restart of the board helps. The driver itself may wait up to 4 s for a picture that its
 * queue promised: the motors do not, see port_alarm.
 */
#include "app_model.h"
#include "camera_pins.h"
#include "port.h"

#if NANOU_HAS_CAMERA && APP_HAS_VISION

#include "esp_camera.h"
#include "esp_heap_caps.h"
#include "esp_log.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#define CLOCK_HZ          20000000 /* of the sensor: its data sheet's typical rate */
#define PICTURE_WAIT_MS   300
#define PICTURE_AGE_US    300000u
#define FAILURES_TO_RESET 3
#define RETRY_LIMIT       8 /* then it is given up; the last pause is RETRY_US << 7: 64 s */
#define RETRY_US          500000u
#define RAM_RESERVE_BYTES (64u * 1024u) /* internal RAM to be left for tasks and drivers */
#define BUFFERS           2u

#define IS_SIZE(width, height) (APP_CAMERA_WIDTH_PX == (width) && APP_CAMERA_HEIGHT_PX == (height))
#if IS_SIZE(160, 120)
#define FRAME_SIZE FRAMESIZE_QQVGA
#elif IS_SIZE(96, 96)
#define FRAME_SIZE FRAMESIZE_96X96
#elif IS_SIZE(128, 128)
#define FRAME_SIZE FRAMESIZE_128X128
#elif IS_SIZE(176, 144)
#define FRAME_SIZE FRAMESIZE_QCIF
#elif IS_SIZE(240, 176)
#define FRAME_SIZE FRAMESIZE_HQVGA
#elif IS_SIZE(240, 240)
#define FRAME_SIZE FRAMESIZE_240X240
#elif IS_SIZE(320, 240)
#define FRAME_SIZE FRAMESIZE_QVGA
#elif IS_SIZE(640, 480)
#define FRAME_SIZE FRAMESIZE_VGA
#else
#error "The camera gives no pictures of this size: generate the model's library with another --camera"
#endif

static const char *const tag = "camera";

static struct {
    camera_fb_t *held; /* between take and give */
    uint32_t failures; /* pictures in a row that did not come */
    uint32_t retries;  /* times in a row that it was begun without giving a picture after it */
    uint64_t retry_us; /* not before that */
    int is_running;
    uint8_t flip_vertical, flip_horizontal;
} camera;

/* Internal RAM is faster for the driver and for us; pictures that leave too little of it go to PSRAM. */
static camera_fb_location_t buffer_location(void) {
    const size_t wanted_bytes = BUFFERS * APP_CAMERA_FRAME_BYTES + RAM_RESERVE_BYTES;
    const int fits = heap_caps_get_free_size(MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT) >= wanted_bytes;
    const int has_psram = heap_caps_get_total_size(MALLOC_CAP_SPIRAM) > 0;
    return fits || !has_psram ? CAMERA_FB_IN_DRAM : CAMERA_FB_IN_PSRAM;
}

static int begin(void) {
    const camera_config_t config = {
        .pin_pwdn = PIN_POWER_DOWN,
        .pin_reset = PIN_RESET,
        .pin_xclk = PIN_CLOCK,
        .pin_sccb_sda = PIN_SDA,
        .pin_sccb_scl = PIN_SCL,
        .pin_d7 = PIN_D7,
        .pin_d6 = PIN_D6,
        .pin_d5 = PIN_D5,
        .pin_d4 = PIN_D4,
        .pin_d3 = PIN_D3,
        .pin_d2 = PIN_D2,
        .pin_d1 = PIN_D1,
        .pin_d0 = PIN_D0,
        .pin_vsync = PIN_VSYNC,
        .pin_href = PIN_HREF,
        .pin_pclk = PIN_PIXEL_CLOCK,
        .xclk_freq_hz = CLOCK_HZ,
        .ledc_timer = LEDC_TIMER_0,
        .ledc_channel = LEDC_CHANNEL_0,
        .pixel_format = PIXFORMAT_RGB565,
        .frame_size = FRAME_SIZE,
        .fb_count = BUFFERS,
        .fb_location = buffer_location(),
        .grab_mode = CAMERA_GRAB_LATEST,
    };
    const esp_err_t error = esp_camera_init(&config);
    if (error != ESP_OK) {
        ESP_LOGE(tag, "cannot begin: %s", esp_err_to_name(error));
        return -1;
    }
    sensor_t *const sensor = esp_camera_sensor_get();
    int upside_down = camera.flip_vertical;
    if (sensor != NULL && sensor->id.PID == OV3660_PID) {
        upside_down = !upside_down; /* on its modules it looks the other way up */
    }
    if (sensor != NULL && ((upside_down && sensor->set_vflip(sensor, 1) != 0) ||
                           (camera.flip_horizontal && sensor->set_hmirror(sensor, 1) != 0))) {
        ESP_LOGE(tag, "the sensor cannot turn pictures");
        (void)esp_camera_deinit();
        return -1; /* what it sees would be somewhere else */
    }
    return 0;
}

static void end(void) {
    (void)esp_camera_deinit();
    camera.is_running = 0;
    camera.failures = 0;
}

/* 0 once the camera runs. */
static int keep_running(void) {
    if (camera.is_running) {
        return 0;
    }
    if (camera.retries >= RETRY_LIMIT || port_time_us() < camera.retry_us) {
        return -1;
    }
    camera.is_running = begin() == 0;
    camera.retry_us = port_time_us() + ((uint64_t)RETRY_US << camera.retries);
    camera.retries++;
    if (!camera.is_running && camera.retries == RETRY_LIMIT) {
        ESP_LOGE(tag, "given up; restart the board once it is connected");
    }
    return camera.is_running ? 0 : -1;
}

static int is_old(const camera_fb_t *picture) {
    const uint64_t begun_us =
        (uint64_t)picture->timestamp.tv_sec * 1000000u + (uint64_t)picture->timestamp.tv_usec;
    return port_time_us() - begun_us > PICTURE_AGE_US;
}

/* A whole picture that is not old, or NULL. */
static camera_fb_t *newest_picture(void) {
    for (uint32_t waited_ms = 0; waited_ms < PICTURE_WAIT_MS; waited_ms++) {
        if (!esp_camera_available_frames()) {
            vTaskDelay(pdMS_TO_TICKS(1) > 0 ? pdMS_TO_TICKS(1) : 1);
            continue;
        }
        camera_fb_t *const picture = esp_camera_fb_get();
        if (picture == NULL) {
            return NULL;
        }
        if (picture->format == PIXFORMAT_RGB565 && picture->len == 2u * picture->width * picture->height &&
            !is_old(picture)) {
            return picture;
        }
        esp_camera_fb_return(picture);
    }
    return NULL;
}

int port_camera_take(camera_frame_t *frame) {
    if (camera.held != NULL || keep_running() != 0) {
        return PORT_CAMERA_FAILED;
    }
    camera_fb_t *const picture = newest_picture();
    if (picture == NULL) {
        if (++camera.failures >= FAILURES_TO_RESET) {
            ESP_LOGE(tag, "no picture for %d times: off and on again", FAILURES_TO_RESET);
            end();
        }
        return PORT_CAMERA_FAILED;
    }
    camera.failures = 0;
    camera.retries = 0;
    camera.held = picture;
    frame->pixels = picture->buf;
    frame->width_px = (uint16_t)picture->width;
    frame->height_px = (uint16_t)picture->height;
    frame->big_endian = 1;
    return PORT_CAMERA_OK;
}

void port_camera_give(void) {
    if (camera.held != NULL) {
        esp_camera_fb_return(camera.held);
        camera.held = NULL;
    }
}

void port_camera_orient(uint8_t flip_vertical, uint8_t flip_horizontal) {
    camera.flip_vertical = flip_vertical;
    camera.flip_horizontal = flip_horizontal;
}

#else

int port_camera_take(camera_frame_t *frame) {
    (void)frame;
    return PORT_CAMERA_NONE;
}

void port_camera_give(void) {}

void port_camera_orient(uint8_t flip_vertical, uint8_t flip_horizontal) {
    (void)flip_vertical;
    (void)flip_horizontal;
}

#endif
