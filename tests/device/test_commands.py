"""Commands that talk to devices, as a script sees them: against the default model's C device on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serial
from PIL import Image

from codegen.graph.model import CameraSize
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device
from nanou_deploy.build.library import open_model
from nanou_deploy.cli.device_options import device_address
from nanou_deploy.device.rgb565 import camera_frame, decode_rgb565
from nanou_deploy.flash.upload import mock_board
from nanou_train.data.terrain import generate
from tests.camera_masks import camera_masks
from tests.command_line import run, run_json
from tests.flash import read_flash
from tests.generated import compiled, write_library

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT = ("--timeout", "20")
SIZE = CameraSize()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of rendered terrain."""
    folder = tmp_path_factory.mktemp("pictures")
    images, _ = generate(4, seed=3, height_px=SIZE.height_px, width_px=SIZE.width_px)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    made: list[Path] = []

    def build() -> Path:
        if not made:
            folder = tmp_path_factory.mktemp("default")
            library = write_library(compiled("default"), folder)
            made.append(build_device(library, find_board("host"), folder / "build").elf)
        return made[0]

    return build


@pytest.fixture
def port(require_tool: Callable[..., str], built: Callable[[], Path]) -> str:
    """The address of a device without camera."""
    require_tool("gcc", "clang")
    return f"exec:{built()}"


@pytest.fixture
def camera_port(port: str, pictures: Path, tmp_path: Path) -> str:
    """The address of a device whose camera sees the pictures."""
    frames = [camera_frame(Image.open(path), SIZE, big_endian=True) for path in sorted(pictures.iterdir())]
    (tmp_path / "frames.raw").write_bytes(b"".join(frames))
    return f"{port} --camera {tmp_path / 'frames.raw'} --camera-size {SIZE} --camera-fps 50"


def expected_masks(pictures: Path) -> np.ndarray:  # type: ignore[type-arg]
    model = open_model(None)
    frames = [camera_frame(Image.open(path), SIZE, big_endian=True) for path in sorted(pictures.iterdir())]
    return camera_masks(model, frames, big_endian=True)


# ---- verify and bench ------------------------------------------------------------------------------------------


def test_verify_of_two_devices(port: str, tmp_path: Path) -> None:
    code, document = run_json("verify", "--port", port, "--port", port + " ", "--cases", "5", *TIMEOUT, cwd=tmp_path)
    assert (code, document["passed"], document["cases"]) == (0, True, 5)
    devices = [e for e in document["executors"] if e["name"].startswith("host at ")]
    assert [(e["equal_cases"], e["status"]) for e in devices] == [(5, "equal")] * 2


def test_verify_builds_the_application_of_a_board(port: str, tmp_path: Path) -> None:
    code, document = run_json("verify", "--device", "--board", "host", "--cases", "3", *TIMEOUT, cwd=tmp_path)
    assert (code, document["boards"]) == (0, ["host"])
    assert {e["name"]: e["equal_cases"] for e in document["executors"]} == {"TFLM": 3, "device host": 3}


def test_a_device_with_another_model_is_stale(program: Path, tmp_path: Path) -> None:
    done = run("verify", "--port", f"exec:{program}", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 1
    assert "runs model a1a1a1a1a1a1, not" in done.stderr
    assert "try: flash the firmware again" in done.stderr


def test_bench_by_layer(port: str, tmp_path: Path) -> None:
    code, document = run_json("bench", "--port", port, "--inferences", "3", "--per-layer", *TIMEOUT, cwd=tmp_path)
    (device,) = document["devices"]
    bench = device["bench"]
    assert (code, bench["inferences"]) == (0, 3)
    assert 0 < bench["best_us"] <= bench["mean_us"] <= bench["worst_us"]
    assert len(bench["layers"]) == device["info"]["layers"] > 20
    shown = run("bench", "--port", port, "--inferences", "1", "--per-layer", *TIMEOUT, cwd=tmp_path).stdout
    assert "depthwise_conv_2d" in shown
    assert run("bench", "--port", port, "--compare", cwd=tmp_path).returncode == 2


# ---- capture ---------------------------------------------------------------------------------------------------


def test_captured_pictures_are_the_camera_s(camera_port: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ("capture", "--port", camera_port, "--output", "data", "--count", "3", "--interval", "0", *TIMEOUT)
    code, document = run_json(*arguments, "--session", "drive_1", cwd=tmp_path)
    assert code == 0
    names = [f"drive_1_{number:06d}.png" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "data" / "img").iterdir()) == names
    assert [Path(path).name for path in document["files"]] == names
    seen = {np.asarray(Image.open(tmp_path / "data" / "img" / name)).tobytes() for name in names}
    shown = [camera_frame(Image.open(path), SIZE, big_endian=True) for path in pictures.iterdir()]
    assert seen <= {decode_rgb565(frame, SIZE, big_endian=True).tobytes() for frame in shown}


def test_captured_pictures_are_never_overwritten(camera_port: str, tmp_path: Path) -> None:
    arguments = ("capture", "--port", camera_port, "--output", "data", "--count", "1", "--session", "x", *TIMEOUT)
    (tmp_path / "data" / "img").mkdir(parents=True)
    mine = tmp_path / "data" / "img" / "x_000001.png"
    mine.write_text("mine")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, mine.read_text()) == (1, "mine")
    assert "exists already" in done.stderr
    assert [path.name for path in (tmp_path / "data" / "img").iterdir()] == ["x_000001.png"]


def test_captured_masks_are_the_device_s(camera_port: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ("capture", "--port", camera_port, "--output", "data", "--count", "2", "--interval", "0", "--masks")
    assert run(*arguments, *TIMEOUT, cwd=tmp_path).returncode == 0
    masks = sorted((tmp_path / "data" / "mask").iterdir())
    assert [path.name for path in masks] == sorted(path.name for path in (tmp_path / "data" / "img").iterdir())
    expected = {
        np.unpackbits(mask.reshape(60, -1), axis=1, count=80).astype(np.uint8).tobytes()
        for mask in expected_masks(pictures)
    }
    for path in masks:
        assert re.fullmatch(r"drive_\d{8}T\d{6}Z_\d{6}\.png", path.name)
        mask = np.asarray(Image.open(path))
        assert mask.shape == (120, 160)
        assert (mask[::2, ::2] // 255).tobytes() in expected


def test_capture_without_a_camera(port: str, tmp_path: Path) -> None:
    done = run("capture", "--port", port, "--output", "data", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 1
    assert "camera" in done.stderr
    assert not (tmp_path / "data").exists()


# ---- predict ---------------------------------------------------------------------------------------------------


def test_a_device_predicts_as_this_computer_does(port: str, camera_port: str, pictures: Path, tmp_path: Path) -> None:
    """Pictures that are sent to it, and those of its own camera, which ends by --limit."""
    sent, here = (
        run_json("predict", pictures, *how, "--output", name, cwd=tmp_path)[1]
        for name, how in (("sent", ("--port", port, *TIMEOUT)), ("here", ("--executor", "tflm")))
    )
    assert sent["executor"].startswith("device at exec:")
    assert sent["model_sha256"] == here["model_sha256"]
    assert sent["predictions"] == here["predictions"]
    code, seen = run_json("predict", "--port", camera_port, "--limit", "2", *TIMEOUT, "--output", "seen", cwd=tmp_path)
    assert (code, [one["name"] for one in seen["predictions"]]) == (0, ["device_000001", "device_000002"])
    known = {(tmp_path / "here" / one["files"]["mask"]).read_bytes() for one in here["predictions"]}
    assert {(tmp_path / "seen" / one["files"]["mask"]).read_bytes() for one in seen["predictions"]} <= known


# ---- monitor and run -------------------------------------------------------------------------------------------


def test_monitor_of_two_devices_with_pictures(port: str, pictures: Path, tmp_path: Path) -> None:
    ports = ("--port", port, "--port", port + " ")
    done = run("monitor", *ports, "--frames", pictures, "--plain", "--limit", "3", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "#" in line]
    assert len(lines) == 6
    assert all(re.search(r"#\d +(GO  |STOP) steer +[+-]\d+  cover .* fps  ms: preprocessing", line) for line in lines)
    assert done.stdout.count("self-test passed") >= 2


def test_monitor_of_a_device_with_a_camera(camera_port: str, tmp_path: Path) -> None:
    done = run("monitor", "--port", camera_port, "--plain", "--limit", "3", "--shrink", "4", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"ms: camera [\d.]+ preprocessing [\d.]+ model", done.stdout)) == 3


def test_monitor_says_what_a_device_without_camera_needs(port: str, tmp_path: Path) -> None:
    done = run("monitor", "--port", port, "--plain", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 1
    assert "no camera" in done.stderr
    assert "--frames" in done.stderr


def test_monitor_of_an_empty_folder(port: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("monitor", "--port", port, "--frames", "empty", cwd=tmp_path)
    assert (done.returncode, "holds no pictures" in done.stderr) == (1, True)


def test_run_needs_nothing_but_a_compiler(port: str, tmp_path: Path) -> None:
    done = run("run", "--board", "host", "--limit", "2", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" fps  ms: ") == 2
    assert run("run", "--board", "host", "--port", "COM3", cwd=tmp_path).returncode == 2
    assert "no device program" in run("run", "--board", "rv32-qemu", cwd=tmp_path).stderr


def test_run_looks_for_its_frames_first(tmp_path: Path) -> None:
    done = run("run", "--board", "host", "--frames", "nowhere", cwd=tmp_path)
    assert (done.returncode, "nowhere is no folder" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_run_on_a_simulated_chip(port: str, require_module: Callable[[str], None], tmp_path: Path) -> None:
    """The image that would be flashed, started in the simulator; rendered terrain stands in for the camera."""
    require_module("labwired")
    done = run("run", "--board", "esp32c3-sim", "--limit", "1", *TIMEOUT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = open_model(None)
    assert re.search(rf"esp32c3-sim at sim:.*device\.bin@esp32c3: model {model.name} {model.sha256[:4]}", done.stdout)
    assert done.stdout.count(" fps  ms: ") == 1


def test_run_for_hardware_without_its_platform_is_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "none"))
    done = run("run", "--board", "esp32s3", cwd=tmp_path)
    assert done.returncode == 4
    assert "is not installed" in done.stderr
    assert "try:" in done.stderr
    assert done.stderr.index("made with examples/log.c") < done.stderr.index("PlatformIO: esp32s3")
    assert (tmp_path / "build" / "esp32s3" / "platformio.ini").is_file()


# ---- Ports that cannot be used ---------------------------------------------------------------------------------


def test_an_absent_port(tmp_path: Path) -> None:
    for command in ("monitor", "verify", "bench"):
        done = run(command, "--port", "/dev/no-such-port", cwd=tmp_path)
        assert done.returncode == 1
        assert "/dev/no-such-port cannot be opened: No such file or directory" in done.stderr
        assert "try: " in done.stderr
        assert "Traceback" not in done.stderr
    code, document = run_json("bench", "--port", "tcp://127.0.0.1:1", cwd=tmp_path)
    assert (code, document["exit_code"]) == (1, 1)
    assert document["hint"]


@pytest.fixture
def terminal() -> Iterator[str]:
    """The name of a terminal with nobody behind it."""
    near, far = pty.openpty()
    tty.setraw(far)
    yield os.ttyname(far)
    os.close(near)
    os.close(far)


def test_a_busy_port(terminal: str, tmp_path: Path) -> None:
    with serial.Serial(terminal, exclusive=True):
        done = run("monitor", "--port", terminal, cwd=tmp_path)
    assert done.returncode == 1
    assert "another program has it open" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="rights are given up by root alone")
def test_a_port_without_permission(terminal: str) -> None:
    """As another user, in a process of its own."""
    Path(terminal).chmod(0o600)
    program = (
        "import os, sys; from nanou_deploy.device.client import Device, DeviceAbsent\n"
        "import serial.tools.list_ports; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Device.open(sys.argv[1])\n"
        "except DeviceAbsent as error: print(error, '|', error.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, terminal], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "Permission denied" in done.stdout
    assert "log in again" in done.stdout or "chmod" in done.stdout


def test_a_silent_port(terminal: str, tmp_path: Path) -> None:
    done = run("monitor", "--port", terminal, "--timeout", "0.3", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing answers there" in done.stderr


# ---- flash -----------------------------------------------------------------------------------------------------


def test_flash_writes_what_was_built_and_every_hash_is_verified(
    require_module: Callable[[str], None], tmp_path: Path
) -> None:
    """Against a mock of the chip's boot loader, whose flash is then read back."""
    require_module("esp32_mock_bootloader")
    project = tmp_path / "build" / "esp32c3"
    (project / "boards").mkdir(parents=True)
    (project / "boards" / "partitions.csv").write_text("factory, app, factory, 0x10000, 0x100000\n")
    built = project / ".pio" / "build" / "esp32c3"
    built.mkdir(parents=True)
    content = {name: os.urandom(4096 * (i + 1)) for i, name in enumerate(("bootloader", "partitions", "firmware"))}
    content = {name: b"\xe9" + data[1:] for name, data in content.items()}
    for name, data in content.items():
        (built / f"{name}.bin").write_bytes(data)
    with mock_board("esp32c3") as port:
        code, document = run_json("flash", "--board", "esp32c3", "--port", port, cwd=tmp_path)
        assert (code, document["verified"]) == (0, True), document
        assert document["bytes"] == sum(map(len, content.values()))
        application = content["firmware"]
        back = read_flash("esp32c3", port, 0x10000, len(application), tmp_path / "back")
        table = read_flash("esp32c3", port, 0x8000, 8192, tmp_path / "back")
    assert back == application
    assert table == content["partitions"]


def test_flash_says_what_is_missing(tmp_path: Path) -> None:
    nothing = run("flash", "--board", "esp32c3", cwd=tmp_path)
    assert (nothing.returncode, "nanou-deploy build --board esp32c3" in nothing.stderr) == (1, True)
    (tmp_path / "build" / "esp32c3" / "boards").mkdir(parents=True)
    (tmp_path / "build" / "esp32c3" / "boards" / "partitions.csv").write_text("a, app, factory, 0x10000, 0x100000\n")
    rendered = run("flash", "--board", "esp32c3", cwd=tmp_path)
    assert "lacks bootloader.bin, partitions.bin, firmware.bin" in rendered.stderr
    assert "pio run" in rendered.stderr
    assert "run --board host" in run("flash", "--board", "host", cwd=tmp_path).stderr


def test_boards_in_qemu_have_no_device_program(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no device program"):
        device_address(find_board("rv32-qemu"), open_model(None), tmp_path)
