/* port_posix.c - the application on this computer.
 *
 *     device --stdio                     the line is standard input and output
 *     device --pty                       a new terminal, whose name is printed
 *     device --tcp PORT                  one client at a time on 127.0.0.1; PORT 0: the system chooses, and
 * it is printed
 *
 * A camera is played from a file of raw RGB565 frames, one after the other and from the beginning again:
 *
 *     --camera FILE --camera-size 160x120 [--camera-fps 10] [--camera-little-endian]
 *
 * motors_posix.c says what --record FILE and --arm FILE do.
 */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "motors_posix.h"
#include "port.h"

#define EXIT_USAGE       2
#define IDLE_MS          100
#define WRITE_TIMEOUT_MS 1000
/* Environment that a restart leaves to its successor. */
#define RESTART_REASON "NANOU_RESET_REASON"
#define RESTART_LINE   "NANOU_LINE" /* file number of the terminal or of the TCP listener */

static char **arguments;
static int input = -1;
static int output = -1;
static int listener = -1; /* TCP: waits for the next client */
static int closed;

static FILE *camera;
static uint8_t *camera_pixels;
static unsigned camera_width_px, camera_height_px;
static unsigned camera_fps = 10;
static uint8_t camera_big_endian = 1;
static uint64_t camera_due_us;

/* ---- Opening ----------------------------------------------------------------------------------- */

static int complain(const char *what) {
    fprintf(stderr, "device: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    return EXIT_USAGE;
}

static int make_raw(int file) {
    struct termios settings;
    if (!isatty(file)) {
        return 0;
    }
    if (tcgetattr(file, &settings) != 0) {
        return -1;
    }
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    return tcsetattr(file, TCSANOW, &settings);
}

static int open_stdio(void) {
    input = STDIN_FILENO;
    output = STDOUT_FILENO;
    return make_raw(input) == 0 ? 0 : complain("standard input is no usable line");
}

/* What the program before the restart had open, or -1. */
static int inherited_line(void) {
    const char *const number = getenv(RESTART_LINE);
    return number != NULL ? atoi(number) : -1;
}

static int open_pty(void) {
    if (inherited_line() >= 0) {
        input = output = inherited_line();
        return 0;
    }
    input = output = posix_openpt(O_RDWR | O_NOCTTY);
    if (input < 0 || grantpt(input) != 0 || unlockpt(input) != 0) {
        return complain("no terminal can be made");
    }
    /* Held open, so that the line outlives its clients. */
    const int other_end = open(ptsname(input), O_RDWR | O_NOCTTY);
    if (other_end < 0 || make_raw(other_end) != 0) {
        return complain("the new terminal cannot be set up");
    }
    printf("%s\n", ptsname(input));
    fflush(stdout);
    return 0;
}

static int open_tcp(const char *port) {
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    const int on = 1;
    if (inherited_line() >= 0) {
        listener = inherited_line();
        return 0;
    }
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        return complain("the port cannot be opened");
    }
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return 0;
}

static int open_camera(const char *file) {
    const size_t frame_bytes = (size_t)camera_width_px * camera_height_px * 2u;
    if (frame_bytes == 0 || camera_fps == 0) {
        return complain("--camera needs --camera-size WIDTHxHEIGHT, and --camera-fps is at least 1");
    }
    camera = fopen(file, "rb");
    camera_pixels = malloc(frame_bytes);
    return camera != NULL && camera_pixels != NULL ? 0 : complain(file);
}

int device_open(int argc, char **argv) {
    const char *camera_file = NULL;
    int wrong = -1;
    arguments = argv;
    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        const char *const next = i + 1 < argc ? argv[i + 1] : "";
        errno = 0;
        if (strcmp(argv[i], "--stdio") == 0) {
            wrong = open_stdio();
        } else if (strcmp(argv[i], "--pty") == 0) {
            wrong = open_pty();
        } else if (strcmp(argv[i], "--tcp") == 0) {
            wrong = open_tcp(next);
            i++;
        } else if (strcmp(argv[i], "--camera") == 0) {
            camera_file = next;
            i++;
        } else if (strcmp(argv[i], "--camera-size") == 0 &&
                   sscanf(next, "%ux%u", &camera_width_px, &camera_height_px) == 2) {
            i++;
        } else if (strcmp(argv[i], "--camera-fps") == 0 && sscanf(next, "%u", &camera_fps) == 1) {
            i++;
        } else if (strcmp(argv[i], "--camera-little-endian") == 0) {
            camera_big_endian = 0;
        } else {
            const int used = motors_option(argv[i], next);
            if (used <= 0) {
                return complain(used < 0 ? next : argv[i]);
            }
            i++;
        }
    }
    if (wrong != 0) {
        return wrong > 0 ? wrong : complain("one of --stdio, --pty or --tcp PORT is needed");
    }
    return camera_file == NULL ? 0 : open_camera(camera_file);
}

int device_is_open(void) {
    return !closed;
}

/* ---- Line -------------------------------------------------------------------------------------- */

/* The client is gone. A TCP device waits for the next one; on other lines that is the end. */
static void lose_client(void) {
    if (listener < 0) {
        closed = 1;
        return;
    }
    (void)close(input);
    input = output = -1;
}

static int wait_for(int file, short events, int timeout_ms) {
    struct pollfd what = {file, events, 0};
    return poll(&what, 1, timeout_ms);
}

uint32_t port_read(uint8_t *bytes, uint32_t capacity) {
    if (input < 0 && listener >= 0 && wait_for(listener, POLLIN, 0) > 0) {
        input = output = accept(listener, NULL, NULL);
    }
    if (input < 0 || wait_for(input, POLLIN, 0) <= 0) {
        return 0;
    }
    const ssize_t count = read(input, bytes, capacity);
    if (count <= 0) {
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            lose_client();
        }
        return 0;
    }
    return (uint32_t)count;
}

static int write_all(const uint8_t *bytes, uint32_t count) {
    while (count > 0) {
        if (output < 0 || wait_for(output, POLLOUT, WRITE_TIMEOUT_MS) <= 0) {
            return -1;
        }
        const ssize_t written = write(output, bytes, count);
        if (written < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                continue;
            }
            lose_client();
            return -1;
        }
        bytes += written;
        count -= (uint32_t)written;
    }
    return 0;
}

static volatile sig_atomic_t is_writing;

int port_write(const uint8_t *bytes, uint32_t count) {
    is_writing = 1;
    const int result = write_all(bytes, count);
    is_writing = 0;
    return result;
}

int port_write_from_alarm(const uint8_t *bytes, uint32_t count) {
    return is_writing ? -1 : write_all(bytes, count);
}

/* ---- Time -------------------------------------------------------------------------------------- */

void port_read_time_us(uint64_t *time_us) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    *time_us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

const uint8_t port_has_cycles = 0;

uint32_t port_cycles(void) {
    return 0;
}

void port_idle(void) {
    const int file = input >= 0 ? input : listener;
    (void)wait_for(file, POLLIN, camera != NULL ? 1 : IDLE_MS);
}

/* ---- Board ------------------------------------------------------------------------------------- */

port_memory_t port_memory(void) {
    const port_memory_t unknown = {0, 0, 0};
    return unknown;
}

const char *port_board(void) {
    return DEVICE_TEXT(NANOU_BOARD);
}

const char *port_reset_reason(void) {
    const char *reason = getenv(RESTART_REASON);
    return reason != NULL ? reason : "power-on";
}

uint32_t port_boot_number(void) {
    uint32_t number = 0;
    FILE *const random = fopen("/dev/urandom", "rb");
    if (random != NULL) {
        (void)!fread(&number, sizeof number, 1, random);
        (void)fclose(random);
    }
    return number != 0 ? number : (uint32_t)port_time_us() | 1u;
}

/* As over USB, a TCP client loses its connection. */
void port_restart(void) {
    char number[16];
    const int line = listener >= 0 ? listener : input;
    if (listener >= 0 && input >= 0) {
        (void)close(input);
    }
    (void)snprintf(number, sizeof number, "%d", line);
    (void)setenv(RESTART_LINE, number, 1);
    (void)setenv(RESTART_REASON, "restart", 1);
    (void)execv("/proc/self/exe", arguments);
}

/* ---- Camera ------------------------------------------------------------------------------------ */

static uint8_t camera_flip_vertical, camera_flip_horizontal;

void port_camera_orient(uint8_t flip_vertical, uint8_t flip_horizontal) {
    camera_flip_vertical = flip_vertical;
    camera_flip_horizontal = flip_horizontal;
}

static void swap_pixels(uint8_t *one, uint8_t *other) {
    for (int i = 0; i < 2; i++) {
        const uint8_t kept = one[i];
        one[i] = other[i];
        other[i] = kept;
    }
}

/* As a sensor's own registers would. */
static void turn_picture(void) {
    const size_t width = camera_width_px, height = camera_height_px;
    for (size_t y = 0; camera_flip_vertical && y < height / 2; y++) {
        for (size_t x = 0; x < width; x++) {
            swap_pixels(camera_pixels + 2 * (y * width + x),
                        camera_pixels + 2 * ((height - 1 - y) * width + x));
        }
    }
    for (size_t i = 0; camera_flip_horizontal && i < width / 2 * height; i++) {
        const size_t y = i / (width / 2), x = i % (width / 2);
        swap_pixels(camera_pixels + 2 * (y * width + x), camera_pixels + 2 * (y * width + width - 1 - x));
    }
}

int port_camera_take(camera_frame_t *frame) {
    const size_t frame_bytes = (size_t)camera_width_px * camera_height_px * 2u;
    if (camera == NULL) {
        return PORT_CAMERA_NONE;
    }
    while (port_time_us() < camera_due_us) {
        const struct timespec nap = {0, 1000000};
        (void)nanosleep(&nap, NULL);
    }
    camera_due_us = port_time_us() + 1000000u / camera_fps;
    if (fread(camera_pixels, 1, frame_bytes, camera) != frame_bytes) {
        rewind(camera);
        if (fread(camera_pixels, 1, frame_bytes, camera) != frame_bytes) {
            return PORT_CAMERA_FAILED;
        }
    }
    turn_picture();
    frame->pixels = camera_pixels;
    frame->width_px = (uint16_t)camera_width_px;
    frame->height_px = (uint16_t)camera_height_px;
    frame->big_endian = camera_big_endian;
    return PORT_CAMERA_OK;
}

void port_camera_give(void) {}
