/* camera_pins.h - how the camera is wired to each board that has one; no NANOU_HAS_CAMERA on the others.
 *
 * Sources: esp32-camera 2.1.5, examples/camera_example/main/camera_pinout.h (ESP32-CAM, XIAO; the S3-EYE is
 * wired as its "ESP32S3 GOOUU"), and the boards' schematics by Espressif, AI-Thinker and Seeed. -1: not
 * connected.
 */
#ifndef NANOU_CAMERA_PINS_H
#define NANOU_CAMERA_PINS_H

#include "sdkconfig.h"

#if CONFIG_NANOU_BOARD_ESP32CAM

#define NANOU_HAS_CAMERA 1
#define PIN_POWER_DOWN   32
#define PIN_RESET        -1
#define PIN_CLOCK        0
#define PIN_SDA          26
#define PIN_SCL          27
#define PIN_D0           5
#define PIN_D1           18
#define PIN_D2           19
#define PIN_D3           21
#define PIN_D4           36
#define PIN_D5           39
#define PIN_D6           34
#define PIN_D7           35
#define PIN_VSYNC        25
#define PIN_HREF         23
#define PIN_PIXEL_CLOCK  22

#elif CONFIG_NANOU_BOARD_ESP32S3_EYE

#define NANOU_HAS_CAMERA 1
#define PIN_POWER_DOWN   -1
#define PIN_RESET        -1
#define PIN_CLOCK        15
#define PIN_SDA          4
#define PIN_SCL          5
#define PIN_D0           11
#define PIN_D1           9
#define PIN_D2           8
#define PIN_D3           10
#define PIN_D4           12
#define PIN_D5           18
#define PIN_D6           17
#define PIN_D7           16
#define PIN_VSYNC        6
#define PIN_HREF         7
#define PIN_PIXEL_CLOCK  13

#elif CONFIG_NANOU_BOARD_XIAO_ESP32S3

#define NANOU_HAS_CAMERA 1
#define PIN_POWER_DOWN   -1
#define PIN_RESET        -1
#define PIN_CLOCK        10
#define PIN_SDA          40
#define PIN_SCL          39
#define PIN_D0           15
#define PIN_D1           17
#define PIN_D2           18
#define PIN_D3           16
#define PIN_D4           14
#define PIN_D5           12
#define PIN_D6           11
#define PIN_D7           48
#define PIN_VSYNC        38
#define PIN_HREF         47
#define PIN_PIXEL_CLOCK  13

#endif
#endif
