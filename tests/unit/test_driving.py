"""firmware/app from a picture to the motors, on this computer: a fake board, a model that copies, every fault.

The model is 12x8 and gives back the red of its input, so that what is red is drivable. The camera is 24x16.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel, segmentation
from codegen.library.camera_resize import camera_files
from codegen.library.resources import render_template
from nanou_deploy.device.motors import REASONS
from nanou_deploy.resources import firmware_folder

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-O1",
          "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # fmt: skip
MODEL = """
#ifndef EYE_H
#define EYE_H
#include "nanou.h"
#define EYE_INPUT_HEIGHT_PX 8
#define EYE_INPUT_WIDTH_PX 12
#define EYE_INPUT_CHANNELS 3
#define EYE_OUTPUT_HEIGHT_PX 8
#define EYE_OUTPUT_WIDTH_PX 12
#define EYE_OUTPUT_CHANNELS 1
#define EYE_THRESHOLD_Q 0
extern const int8_t eye_input_lookup[256];
extern const nanou_model_t eye;
#endif
"""
APP_MODEL = "\n".join(
    [
        '#include "eye_camera.h"',
        '#include "eye_classes.h"',
        *(f"#define APP_{name} EYE_{name}" for name in ("OUTPUT_WIDTH_PX", "OUTPUT_HEIGHT_PX", "MASK_ROW_BYTES")),
        "#define APP_THRESHOLD_Q EYE_THRESHOLD_Q",
        "#define APP_HAS_THRESHOLD 1",
        "#define app_mask_row_from eye_mask_row_from",
        *(f"#define APP_CAMERA_{n} EYE_CAMERA_{n}" for n in ("WIDTH_PX", "HEIGHT_PX", "ROW_BYTES", "FRAME_BYTES")),
        *(f"#define app_{name} eye_{name}" for name in ("camera_t", "camera_begin", "camera_read_row", "mask_row")),
    ]
)
BOARD = """
#include <stdio.h>
#include <string.h>
#include "vision/driving.h"

const int8_t eye_input_lookup[256] = {%s};
static uint64_t now_us = 1000000;
static int taken_status, width, height, bars[3], model_us, model_fails, held, motor_go = -1, motor_steer, seen;
static int reason, overrides;
static driving_fault_t fault;
static uint8_t pixels[APP_CAMERA_FRAME_BYTES];
static driving_t driving;
static nanou_t net;

void port_read_time_us(uint64_t *time_us) { *time_us = now_us; }
const uint8_t port_has_cycles = 1;
uint32_t port_cycles(void) { return (uint32_t)(now_us * 240u); }
int vehicle_drive(int8_t go, int8_t steer) { motor_go = go; motor_steer = steer; reason = go ? 0 : 1; return go; }
void vehicle_stop(stop_reason_t why) { motor_go = motor_steer = 0; reason = why; }

nanou_user_decision_t nanou_user_decide(const nanou_user_view_t *view, nanou_user_decision_t proposed) {
    const uint32_t x = view->mask_width_px - 1u, y = view->mask_height_px - 1u;
    const int right = view->mask[view->mask_row_bytes * y + x / 8u] >> (7u - x %% 8u) & 1;
    if (overrides) return (nanou_user_decision_t){5, (int8_t)(right ? 120 : -120)};
    return proposed;
}
void port_camera_give(void) { held--; }

int port_camera_take(camera_frame_t *frame) {
    now_us += 20000;
    if (taken_status == 0) {
        held++;
        for (int i = 0; i < 24 * 16; i++) {
            pixels[2 * i] = bars[i %% 24 / 8] ? 0xF8 : 0; /* red, big endian */
        }
        *frame = (camera_frame_t){pixels, (uint16_t)width, (uint16_t)height, 1};
    }
    return taken_status;
}

static nanou_status_t invoke_rows(nanou_t *context, nanou_read_row_t read_row, nanou_write_row_t write_row,
                                 void *user) {
    int8_t in[36], out[12];
    (void)context;
    for (uint32_t y = 0; y < 8; y++) {
        if (read_row(user, y, in) != 0) return NANOU_ERROR_RUNTIME;
        if (model_fails && y == 5) return NANOU_ERROR_RUNTIME;
        for (int x = 0; x < 12; x++) out[x] = in[3 * x];
        now_us += (uint64_t)model_us / 8;
        if (write_row(user, y, out) != 0) return NANOU_ERROR_RUNTIME;
    }
    return NANOU_OK;
}

const nanou_model_t eye = {.invoke_rows = invoke_rows};

static void see(void *user, const driving_t *turn, const camera_frame_t *frame) {
    seen += user == &net && turn == &driving && frame->pixels == pixels && held == 1 && motor_go == turn->decision.go;
}

int main(void) {
    static uint8_t arena;
    char what[16];
    int number;
    net.model = &eye;
    net.arena = &arena;
    while (scanf("%%15s %%d", what, &number) == 2) {
        if (strcmp(what, "begin") == 0) {
            driving_begin(&driving, &net, number, see, &net);
        } else if (strcmp(what, "later") == 0) {
            now_us += (uint64_t)number;
        } else if (strcmp(what, "pause") == 0) {
            driving_pause(&driving, STOP_HOST);
        } else if (strcmp(what, "override") == 0) {
            overrides = number;
        } else {
            taken_status = number;
            if (scanf("%%d %%d %%d %%d %%d %%d %%d", &width, &height, &bars[0], &bars[1], &bars[2], &model_us,
                      &model_fails) != 7) return 1;
            fault = driving_turn(&driving);
        }
        const statistics_t *const s = &driving.statistics;
        printf("%%d %%d %%d %%d %%d %%d %%u %%u %%u %%u\\n", (int)fault, reason, motor_go, motor_steer, held, seen,
               (unsigned)s->pictures, (unsigned)statistics_fps_tenths(s), (unsigned)statistics_capture_us(s),
               (unsigned)driving.vision.times.model_us);
    }
    return 0;
}
"""
# driving_fault_t
OK, UNPROVEN, NO_CAMERA, CAMERA_FAILED, WRONG_FRAME, MODEL_FAILED, STALE = range(7)
OPEN = "0 24 16 1 1 1 40000 0"  # a picture on which all is drivable, and a model that takes 40 ms


@dataclass(frozen=True)
class Turn:
    """What was so after one line of the script.

    `fault`: what the last turn returned, a driving_fault_t; `reason`: a stop_reason_t.
    """

    fault: int
    reason: int
    go: int
    steer: int
    held: int
    seen: int
    pictures: int
    fps_tenths: int
    capture_us: int
    model_us: int


Run = Callable[[Sequence[str]], list[Turn]]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in a folder of its own; an empty path where there is no compiler."""
    folder = tmp_path_factory.mktemp("driving")
    (folder / "eye.h").write_text(MODEL)
    (folder / "app_model.h").write_text(APP_MODEL)
    model = QuantizedModel("red", b"", segmentation(Preprocessing(8, 12)), camera=CameraSize(24, 16))
    decision = {"names": ["0", "1"], "drivable": ["1"], "drivable_bits": "2u", "rule": "threshold"}
    about = {"id": "eye", "ID": "EYE", "generator": "test", "model": model, "decisive_output": 0, "picture_input": 0}
    about |= {"picture": model.preprocessing, "input_lookup": [()], "decision": decision}
    about |= {f"{kind}s": [{"macro": f"EYE_{kind.upper()}"}] for kind in ("input", "output")}
    (folder / "eye_classes.h").write_text(render_template("common/classes.h.j2", **about))
    (folder / "board.c").write_text(BOARD % ",".join(str(v - 128) for v in range(256)))
    for path, text in camera_files(model, model.preprocessing, about).items():
        (folder / Path(path).name).write_text(text)
    return folder


@pytest.fixture
def drive(board: Path, require_tool: Callable[..., str]) -> Run:
    program = board / "program"
    if not program.exists():
        app = firmware_folder() / "app"
        names = ("driving", "vision", "cover", "packed_mask", "navigation", "statistics")
        sources = [app / "vision" / f"{name}.c" for name in names]
        includes = [f"-I{board}", f"-I{app}", *(f"-I{firmware_folder() / name}" for name in ("include", "config"))]
        own = [board / "board.c", board / "eye_camera.c"]
        subprocess.run([require_tool("gcc", "clang"), *STRICT, *includes, *own, *sources, "-o", program], check=True)

    def run(script: Sequence[str]) -> list[Turn]:
        done = subprocess.run([program], input="\n".join(script), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        assert len(lines) == len(script)
        return [Turn(*map(int, numbers)) for numbers in lines]

    return run


def going(*lines: str) -> list[str]:
    """A script that is driving when `lines` begin."""
    return ["begin 1", *[f"turn {OPEN}"] * 4, *lines]


def test_it_starts_after_three_open_pictures(drive: Run) -> None:
    turns = drive(going())
    assert [turn.go for turn in turns] == [0, 0, 0, 1, 1]
    assert turns[-1] == Turn(OK, 0, 1, 0, 0, 4, 4, 166, 20000, 40000)  # 60 ms for each picture


@pytest.mark.parametrize(
    ("turn", "fault"),
    [
        ("turn -1 0 0 0 0 0 0 0", NO_CAMERA),
        ("turn -2 0 0 0 0 0 0 0", CAMERA_FAILED),
        ("turn 0 24 15 1 1 1 40000 0", WRONG_FRAME),
        ("turn 0 16 24 1 1 1 40000 0", WRONG_FRAME),
        ("turn 0 24 16 1 1 1 40000 1", MODEL_FAILED),
        ("turn 0 24 16 1 1 1 500008 0", STALE),
    ],
)
def test_every_fault_stops_at_once_and_ends_by_itself(drive: Run, turn: str, fault: int) -> None:
    turns = drive(going(turn, *[f"turn {OPEN}"] * 3))
    assert turns[4].go == 1
    assert (turns[5].fault, turns[5].go, turns[5].steer) == (fault, 0, 0)
    assert turns[5].held == 0  # whatever was taken was given back
    assert [t.go for t in turns[6:]] == [0, 0, 1]
    assert turns[-1].fault == OK


@pytest.mark.parametrize(
    ("turn", "fault"), [("turn -2 0 0 0 0 0 0 0", CAMERA_FAILED), ("turn 0 24 16 1 1 1 500008 0", STALE)]
)
def test_the_users_policy_has_no_say_in_a_fault(drive: Run, turn: str, fault: int) -> None:
    """It may drive where the numbers would not, held to what a decision can be."""
    turns = drive(["begin 1", "override 1", f"turn {OPEN}", "turn 0 24 16 1 1 0 40000 0", turn, f"turn {OPEN}"])
    assert [(t.go, t.steer) for t in turns[2:]] == [(1, 100), (1, -100), (0, 0), (1, 100)]
    assert turns[4].fault == fault
    assert turns[4].reason == REASONS.index({CAMERA_FAILED: "camera failed", STALE: "stale"}[fault])


def test_an_unproven_model_never_drives(drive: Run) -> None:
    turns = drive(["begin 0", *[f"turn {OPEN}"] * 5])
    assert {(t.fault, t.go, t.pictures) for t in turns[1:]} == {(UNPROVEN, 0, 0)}


def test_pictures_before_a_gap_say_nothing(drive: Run) -> None:
    turns = drive(going("later 400000", f"turn {OPEN}", "later 450000", *[f"turn {OPEN}"] * 3))
    assert [t.go for t in turns[5:]] == [1, 1, 1, 0, 0, 1]


def test_a_pause_stops_and_begins_anew(drive: Run) -> None:
    turns = drive(going("pause 0", *[f"turn {OPEN}"] * 3))
    assert [t.go for t in turns[4:]] == [1, 0, 0, 0, 1]


def test_it_steers_to_the_open_side_and_stops_before_a_wall(drive: Run) -> None:
    turns = drive(going("turn 0 24 16 0 1 1 40000 0", "turn 0 24 16 1 1 0 40000 0", "turn 0 24 16 1 0 1 40000 0"))
    assert [(t.go, t.steer) for t in turns[5:]] == [(1, 100), (1, -100), (0, 0)]
