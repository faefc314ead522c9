"""The user's code in the application: what the motors are told, seen in PWM pulses, on this computer and on chips.

The model gives back the red of its input, so that what is red is drivable. Its pictures have 24x12 pixels.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from codegen.compile import compile_model
from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel, segmentation
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import find_target
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device, run_plan
from nanou_deploy.build.drive_config import DriveConfig, Flip, Policy, render_app_config
from nanou_deploy.build.machines import find_machine
from nanou_deploy.build.programs import plan_device
from nanou_deploy.build.user_folder import Motors, make_user_folder, user_sources
from nanou_deploy.device import messages
from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceRefused, MalformedAnswer
from nanou_deploy.device.link import device_address
from nanou_deploy.device.motors import Motors as Told
from nanou_deploy.device.rgb565 import encode_rgb565
from nanou_deploy.device.tuning import Tuning, decode_tuning
from nanou_deploy.errors import DeployError

SIZE = CameraSize(24, 12)
PATIENT = Policy(stale_ms=7000, hold_ms=8000)  # whatever else this computer does
OPEN, LEFT_OPEN, RIGHT_OPEN, WALL = (1, 1, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)
CRUISE_NS, PERIOD_NS = 25_000, 50_000  # user.h: half of 20 kHz's period
TIMEOUT_S = 30.0


def picture(thirds: tuple[int, int, int], *, top: int = 1) -> bytes:
    """Red where drivable. `top`: of the upper half, which does not count."""
    pixels = np.zeros((SIZE.height_px, SIZE.width_px, 3), np.uint8)
    pixels[..., 0] = np.repeat(thirds, SIZE.width_px // 3) * 255
    pixels[: SIZE.height_px // 2, :, 0] *= top
    return encode_rgb565(pixels, big_endian=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = ModelBuilder()
    source = b.activation((1, SIZE.height_px, SIZE.width_px, 3), 1 / 127.5, -1)
    weights = np.array([127, 0, 0], np.int8).reshape(1, 1, 1, 3)
    red = b.convolution(source, weights, [1 / 127], np.zeros(1, np.int32), scale=0.02, zero_point=0)
    contract = segmentation(Preprocessing(SIZE.height_px, SIZE.width_px))
    model = QuantizedModel("red", b.finish([source], [red]), contract, camera=SIZE)
    folder = tmp_path_factory.mktemp("user") / "library"
    write_project(render_aot(compile_model(model, find_target("native"))), folder)
    return folder


Build = Callable[..., str]


@pytest.fixture(scope="module")
def application(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the application's objects, for all tests."""
    folder = tmp_path_factory.mktemp("application")
    build_device(library, find_board("host"), folder)
    return folder


def build_variant(library: Path, application: Path, folder: Path, user: Path, drive: DriveConfig) -> str:
    """What `build_device` would make, compiling nothing that is in `application` and the same; returns its address."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "app_config.h").write_text(render_app_config(drive))
    where = {"user": user_sources(user), "config": folder / "config"}
    plan = plan_device(find_machine(find_board("host")), find_board("host"), library, folder, **where)
    configured = re.compile(r"app_(config|policy)\.h")
    same = [step for step in (*plan.rest, *plan.model) if not configured.search(step.source.read_text())]
    known = {str(step.target): str(application / step.target.relative_to(folder)) for step in same}
    rest = tuple(step for step in plan.rest if step not in same)
    link = [known.get(word, word) for word in plan.link_command]
    run_plan(replace(plan, rest=rest, model=(), link_command=link))
    return f"exec:{plan.program}"


@pytest.fixture
def build(library: Path, application: Path, tmp_path: Path, require_tool: Callable[..., str]) -> Build:
    """build("two_pwm", policy=...) -> the address of the application with that code in the folder `user`."""

    def address(motors: Motors, *, policy: Policy = PATIENT, flip: Flip = "none") -> str:
        make_user_folder(tmp_path / "user", find_board("host"), motors)
        drive = DriveConfig(policy, flip)
        return build_variant(library, application, Path(mkdtemp(dir=tmp_path)) / "build", tmp_path / "user", drive)

    require_tool("gcc", "clang")
    return address


def show(device: Device, *pictures: tuple[int, int, int]) -> list[Told]:
    """What the motors are told after each picture."""
    told = []
    for thirds in pictures:
        size = {"width_px": SIZE.width_px, "height_px": SIZE.height_px}
        vision = device.infer_camera(picture(thirds), **size, big_endian=True, drive=True)
        told.append(device.motors())
        assert (vision.decision.go, vision.decision.steer) == (told[-1].go, told[-1].steer)
    return told


def pulses(told: Told) -> tuple[int, ...]:
    return tuple(channel.pulse_ns for channel in told.channels)


def recorded(file: Path, what: str) -> list[str]:
    """Values that were recorded, one behind the other."""
    return re.findall(rf"^\d+ {what} (\w*)$", file.read_text(), re.MULTILINE)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- Two motors ------------------------------------------------------------------------------------------------


def drive_two_motors(device: Device) -> None:
    """GO, steering, STOP, and GO again."""
    assert device.info().rehearses
    told = show(device, OPEN, OPEN, OPEN, RIGHT_OPEN, LEFT_OPEN, OPEN, WALL)
    assert [one.go for one in told] == [False, False, True, True, True, True, False]
    assert [one.steer for one in told] == [0, 0, 0, 100, -100, 0, 0]
    both, left, right = (CRUISE_NS, CRUISE_NS), (CRUISE_NS, 0), (0, CRUISE_NS)
    assert [pulses(one) for one in told] == [(0, 0), (0, 0), both, left, right, both, (0, 0)]
    assert {channel.period_ns for channel in told[0].channels} == {PERIOD_NS}
    assert [one.stop_reason for one in told] == ["decided", "decided", "", "", "", "", "decided"]


@pytest.mark.parametrize("board", ["esp32c3-sim", "esp32s3-sim"])
def test_two_motors_on_a_chip(
    library: Path, tmp_path: Path, board: str, require_tool: Callable[..., str], require_module: Callable[[str], None]
) -> None:
    require_module("labwired")
    require_module("esptool")
    tools = {"esp32c3-sim": ["riscv64-unknown-elf-gcc"], "esp32s3-sim": ["clang-22", "llc-22", "llvm-mc-22"]}
    for tool in tools[board]:
        require_tool(tool)
    make_user_folder(tmp_path / "user", find_board(board), "two_pwm")
    made = build_device(library, find_board(board), tmp_path / "build", user=tmp_path / "user")
    with Device.open(device_address(made)) as device:
        drive_two_motors(device)
    if board == "esp32s3-sim":
        gives_back_words(tmp_path / "build")


def gives_back_words(folder: Path) -> None:
    """Check that no result is wider, since labwired loses its upper half: tests/golden/test_register_windows.py.

    Let be division, where the upper half of the dividend takes its place, and a count whose lower half is used.
    """
    functions = [
        (name, re.search(r" (i64|double|\{.*\}|\[.*\]) $", kind))
        for file in folder.glob("**/*.ll")
        for kind, name in re.findall(r"^define (.*?)@(\w+)\(", file.read_text(), re.MULTILINE)
    ]
    assert {name for name, _ in functions} > {"vision_see", "port_read_time_us", "nanou_user_decide"}
    assert {name for name, wide in functions if wide} == {"__udivdi3", "__umoddi3", "instruction_count"}


def test_two_motors_here_and_what_was_recorded(build: Build, tmp_path: Path) -> None:
    record = tmp_path / "record"
    with Device.open(f"{build('two_pwm')} --record {record}", timeout_s=TIMEOUT_S) as device:
        assert pulses(device.motors()) == (0, 0)  # from power-on
        assert device.motors().stop_reason == "boot"
        drive_two_motors(device)
        assert recorded(record, "pwm0") == ["0", "25000", "0", "25000", "0"]
        assert recorded(record, "pwm1") == ["0", "25000", "0", "25000", "0"]
        assert device.logs()[-1] == "motors STOP: the picture says so, pwm0 0.0 us, pwm1 0.0 us"
        show(device, OPEN, OPEN, OPEN)
        device.golden()  # a host uses the model
        assert (device.motors().stop_reason, pulses(device.motors())) == ("host", (0, 0))


def test_no_picture_in_time_is_a_stop_and_the_logs_last_word(build: Build) -> None:
    policy = Policy(start_pictures=1, stale_ms=2000, hold_ms=2100)
    with Device.open(build("two_pwm", policy=policy), timeout_s=TIMEOUT_S) as device:
        assert pulses(show(device, OPEN)[-1]) == (CRUISE_NS, CRUISE_NS)
        until(lambda: not device.motors().go)
        told = device.motors()
        assert (told.stop_reason, told.timeouts, pulses(told)) == ("timed out", 1, (0, 0))
        assert told.age_ms >= 2100
        assert [line.partition(",")[0] for line in device.logs()[-2:]] == [
            "motors GO",
            "motors STOP: no decision in time",
        ]
        assert show(device, OPEN)[-1].go  # and it ends by itself


def test_the_alarm_stops_while_the_application_hangs(build: Build, tmp_path: Path) -> None:
    """Pictures come every two seconds, and the application waits for them."""
    (tmp_path / "camera").write_bytes(picture(OPEN))
    record = tmp_path / "record"
    options = f"--camera {tmp_path / 'camera'} --camera-size {SIZE} --camera-fps 1 --record {record}"
    policy = Policy(start_pictures=1, stale_ms=500, hold_ms=600)
    with Device.open(f"{build('two_pwm', policy=policy)} {options}", timeout_s=TIMEOUT_S) as device:
        until(lambda: len(recorded(record, "pwm0")) >= 5)
        assert recorded(record, "pwm0")[:5] == ["0", "25000", "0", "25000", "0"]
        times_us = [int(line.split()[0]) for line in record.read_text().splitlines() if " pwm0 " in line]
        assert 600_000 <= times_us[2] - times_us[1] < 1_000_000 + (times_us[3] - times_us[1])
        until(lambda: "motors STOP: no decision in time" in device.logs())
        assert device.motors().timeouts >= 1


def test_a_hook_that_hangs_is_stopped(build: Build, tmp_path: Path) -> None:
    """Whatever it does afterwards, and that is the log's last word."""
    make_user_folder(tmp_path / "user", find_board("host"), "two_pwm")
    motors = tmp_path / "user" / "motors.c"
    hang = "for (uint64_t end = nanou_time_us() + 900000; nanou_time_us() < end;) {} nanou_pwm_duty(0, 1000);\n}\n"
    motors.write_text(motors.read_text().removesuffix("}\n") + hang)
    record = tmp_path / "record"
    policy = Policy(start_pictures=1, stale_ms=500, hold_ms=600)
    with Device.open(f"{build('two_pwm', policy=policy)} --record {record}", timeout_s=TIMEOUT_S) as device:
        size = {"width_px": SIZE.width_px, "height_px": SIZE.height_px}
        assert not device.infer_camera(picture(OPEN), **size, big_endian=True, drive=True).decision.go
        assert (device.motors().stop_reason, device.motors().timeouts) == ("timed out", 1)
        assert recorded(record, "pwm0") == ["0", "25000", "0"]
        assert device.logs()[-1].startswith("motors STOP: no decision in time")


def test_the_arm_input(build: Build, tmp_path: Path) -> None:
    make_user_folder(tmp_path / "user", find_board("host"), "two_pwm")
    header = tmp_path / "user" / "user.h"
    header.write_text(re.sub(r"ARM_PIN -1", "ARM_PIN 6", header.read_text()))
    switch = tmp_path / "switch"
    with Device.open(f"{build('two_pwm')} --arm {switch}", timeout_s=TIMEOUT_S) as device:
        told = show(device, OPEN, OPEN, OPEN)
        assert (told[-1].stop_reason, told[-1].is_armed, pulses(told[-1])) == ("disarmed", False, (0, 0))
        switch.touch()
        assert pulses(show(device, OPEN)[-1]) == (CRUISE_NS, CRUISE_NS)
        switch.unlink()
        until(lambda: not device.motors().go)
        assert (device.motors().stop_reason, pulses(device.motors())) == ("disarmed", (0, 0))


# ---- The other examples, the camera, the policy ----------------------------------------------------------------


def test_servo_and_esc(build: Build) -> None:
    with Device.open(build("servo_esc"), timeout_s=TIMEOUT_S) as device:
        told = show(device, OPEN, OPEN, OPEN, RIGHT_OPEN, LEFT_OPEN, WALL)
        stopped = (1_500_000, 1_500_000)
        assert pulses(told[0]) == stopped
        assert [pulses(one) for one in told[2:5]] == [
            (1_500_000, 1_560_000),
            (1_800_000, 1_560_000),
            (1_200_000, 1_560_000),
        ]
        assert pulses(told[5]) == stopped


def test_flight_controller(build: Build, tmp_path: Path) -> None:
    """Messages as MSP has them: the checksum makes the XOR of all from the size on 0."""
    record = tmp_path / "record"
    with Device.open(f"{build('flight_controller')} --record {record}", timeout_s=TIMEOUT_S) as device:
        show(device, OPEN, OPEN, OPEN, RIGHT_OPEN, WALL)
    messages = [bytes.fromhex(text) for text in recorded(record, "serial")]
    for message in messages:
        assert message[:5] == b"$M<\x08\xc8"
        assert np.bitwise_xor.reduce(np.frombuffer(message[3:], np.uint8)) == 0
    sticks = [tuple(np.frombuffer(message[5:-1], "<u2").tolist()) for message in messages]
    stop, go, right = (1500, 1500, 1000, 1500), (1500, 1500, 1200, 1500), (1700, 1500, 1200, 1500)
    assert sticks[-5:] == [stop, stop, go, right, stop]


@pytest.mark.parametrize(
    ("flip", "seen"), [("none", (0, 0, 0)), ("vertical", (1000, 1000, 0)), ("both", (0, 1000, 1000))]
)
def test_the_camera_is_turned(build: Build, tmp_path: Path, flip: Flip, seen: tuple[int, int, int]) -> None:
    upside_down = np.frombuffer(picture(LEFT_OPEN, top=0), ">u2").reshape(SIZE.height_px, SIZE.width_px)[::-1]
    (tmp_path / "camera").write_bytes(upside_down.tobytes())
    options = f"--camera {tmp_path / 'camera'} --camera-size {SIZE} --camera-fps 50"
    with Device.open(f"{build('log', flip=flip)} {options}", timeout_s=TIMEOUT_S) as device:
        decision = next(device.stream()).decision
    assert (decision.left_permille, decision.centre_permille, decision.right_permille) == seen


def test_a_mistake_names_the_users_file(build: Build, tmp_path: Path) -> None:
    make_user_folder(tmp_path / "user", find_board("host"))
    motors = tmp_path / "user" / "motors.c"
    sound = motors.read_text()
    motors.write_text(sound.replace("void nanou_user_begin_motors(void) {}", "void nanou_user_begin_motors(void) {\n"))
    with pytest.raises(DeployError, match=r"user/motors\.c does not compile:\n.*motors\.c:") as raised:
        build("log")
    assert "nanou_user.h" in str(raised.value.hint)
    motors.write_text(sound.replace("nanou_user_begin_motors", "my_begin"))
    with pytest.raises(DeployError, match="nanou_user_begin_motors") as raised:
        build("log")
    assert "each hook" in str(raised.value.hint)


def test_hardware_that_cannot_be_had_never_drives(build: Build, tmp_path: Path) -> None:
    make_user_folder(tmp_path / "user", find_board("host"), "two_pwm")
    header = tmp_path / "user" / "user.h"
    header.write_text(re.sub(r"(RIGHT_PIN +)\d+", r"\g<1>-1", header.read_text()))
    with Device.open(build("two_pwm"), timeout_s=TIMEOUT_S) as device:
        told = show_stopped(device)
        assert (told.stop_reason, told.go) == ("not set up", False)
        assert any("PWM: this pin or frequency cannot be had here" in line for line in device.logs())


def show_stopped(device: Device) -> Told:
    size = {"width_px": SIZE.width_px, "height_px": SIZE.height_px}
    for _ in range(4):
        device.infer_camera(picture(OPEN), **size, big_endian=True, drive=True)
    return device.motors()


# ---- Numbers that are changed while it runs --------------------------------------------------------------------


def test_numbers_are_tuned_while_it_runs(build: Build) -> None:
    with Device.open(build("two_pwm"), timeout_s=TIMEOUT_S) as device:
        assert device.info().tunes
        built_in = device.tuning()
        assert built_in == Tuning(0, PATIENT, has_threshold=True)
        assert show(device, OPEN, OPEN, OPEN)[-1].go
        eager = built_in.changed({"start_pictures": 1, "go": 1000, "stop": 900})
        assert device.tune(eager) == eager == device.tuning()
        assert (device.motors().stop_reason, pulses(device.motors())) == ("tuned", (0, 0))
        assert [one.go for one in show(device, OPEN, WALL, OPEN)] == [True, False, True]
        assert device.tune(eager.changed({"threshold_q": 128})).threshold_q == 128  # never
        assert [one.go for one in show(device, OPEN)] == [False]
        device.tune(eager.changed({"threshold_q": -128}))  # always
        assert [one.go for one in show(device, WALL)] == [True]


def test_numbers_that_contradict_each_other_change_nothing(build: Build) -> None:
    with Device.open(build("log"), timeout_s=TIMEOUT_S) as device:
        built_in = device.tuning()
        for wrong in ({"go": 100}, {"stale_ms": 9000}, {"stale_ms": 8000}, {"start_pictures": 0}, {"speed": 1},
                      {"go": True}, {"go": "700"}, {"threshold_q": 129}, {"turn": 1001}):  # fmt: skip
            with pytest.raises(DeployError):
                built_in.changed(wrong)
        numbers = list(built_in.numbers().values())
        for at, value in ((0, 129), (0, -129), (1, 100), (1, 1001), (2, 1000), (3, 50), (5, 0), (5, 1001), (6, 8000),
                          (6, 10)):  # fmt: skip
            payload = struct.pack("<hHHHHHH", *numbers[:at], value, *numbers[at + 1 :])
            with pytest.raises(DeviceRefused) as refused:
                device._exchange.ask(messages.TUNE, payload)
            assert refused.value.status == messages.RANGE
        with pytest.raises(DeviceRefused):
            device._exchange.ask(messages.TUNE, b"\0")
        assert device.tuning() == built_in


@pytest.mark.parametrize("payload", [b"", b"\0" * 17, b"\xff" * 17, b"\0" * 18])
def test_what_no_device_says_of_its_numbers_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        decode_tuning(payload)
