/* arena.h - where the model's memory goes: internal RAM if it fits, else PSRAM.
 *
 * The limits leave room for ESP-IDF, FreeRTOS and task stacks in the RAM that static data may use
 * (memory.ld.in of ESP-IDF 5.5). A radio stack needs more: lower NANOU_ARENA_INTERNAL_BYTES then.
 */
#ifndef NANOU_ARENA_H
#define NANOU_ARENA_H

#include "app_model.h"
#include "esp_attr.h"
#include "sdkconfig.h"

#ifndef NANOU_ARENA_INTERNAL_BYTES
#if CONFIG_IDF_TARGET_ESP32
#define NANOU_ARENA_INTERNAL_BYTES (112 * 1024) /* of 176 KB for static data */
#else
#define NANOU_ARENA_INTERNAL_BYTES (224 * 1024) /* of about 320 KB */
#endif
#endif

#if APP_ARENA_BYTES <= NANOU_ARENA_INTERNAL_BYTES
#define NANOU_ARENA_ATTR
#define NANOU_ARENA_PLACE "internal RAM"
#elif CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY
#define NANOU_ARENA_ATTR  EXT_RAM_BSS_ATTR
#define NANOU_ARENA_PLACE "PSRAM"
#else
#error "The arena exceeds internal RAM: set CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY"
#endif

#endif
