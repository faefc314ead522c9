"""Generated models behind the protocol: layers by name; camera frames, capture and stream as the contract says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from codegen.library.golden import traced_stages
from codegen.library.identifier import model_identifier
from codegen.tflite import interpreters as reference
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device
from nanou_deploy.device.client import Device, DeviceRefused
from nanou_deploy.resources import firmware_folder
from tests import navigation
from tests.camera_masks import camera_masks
from tests.device import recurrent_model
from tests.generated import MODELS, compiled, write_library

TIMEOUT_S = 20.0
SIZE = (160, 120)
PICTURES = [np.random.default_rng(n).integers(0, 256, (2 * SIZE[0] * SIZE[1]), np.uint8).tobytes() for n in range(3)]
PICTURES += [bytes(len(PICTURES[0])), b"\xff" * len(PICTURES[0])]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def build(which: str) -> Path:
        if which not in made:
            folder = tmp_path_factory.mktemp(which)
            library = write_library(compiled(which), folder)
            made[which] = build_device(library, find_board("host"), folder / "build", sanitize=True).elf
        return made[which]

    return build


@pytest.fixture
def device(require_tool: Callable[..., str], program: Callable[[str], Path]) -> Iterator[Device]:
    require_tool("gcc", "clang")
    with Device.open(f"exec:{program('default')}", timeout_s=TIMEOUT_S) as opened:
        yield opened


def camera_program(program: Path, folder: Path, *arguments: str) -> str:
    (folder / "pictures.raw").write_bytes(b"".join(PICTURES))
    options = ["--camera", str(folder / "pictures.raw"), "--camera-size", "160x120", "--camera-fps", "50", *arguments]
    return f"exec:{program} {' '.join(options)}"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_application_compiles_without_a_warning(
    compiler: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    library, firmware = write_library(compiled("default"), tmp_path), firmware_folder()
    folders = [*(firmware / name for name in ("app", "config", "device", "user")), library / "include", library / "app"]
    sources = [*(firmware / "app").rglob("*.c"), firmware / "device" / "main.c"]
    sources += [*(firmware / "device").glob("*_posix.c"), *(firmware / "user").rglob("*.c")]
    flags = [
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-pedantic",
        "-Werror",
        "-DNANOU_BOARD=host",
        "-fsyntax-only",
    ]
    command = [require_tool(compiler), "-std=c99", *flags, *(f"-I{folder}" for folder in folders), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("board", ["ESP32CAM", "ESP32C3"])
def test_it_compiles_for_a_model_that_makes_no_masks(
    board: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """Also on ESP-IDF's side, of whose headers these files then need names alone, with a camera and without."""
    firmware, library = firmware_folder(), recurrent_model.make_library(tmp_path / "lib")
    (tmp_path / "sdkconfig.h").write_text(f"#define CONFIG_NANOU_BOARD_{board} 1\n")
    (tmp_path / "esp_attr.h").write_text("")
    folders = [tmp_path, *(firmware / name for name in ("app", "config", "device"))]
    folders += [library / "include", library / "app"]
    sources = [*(firmware / "app").glob("*.c"), firmware / "device" / "main.c"]
    sources += [firmware / "src" / name for name in ("main.c", "camera_esp.c")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only"]
    command = [require_tool("gcc"), *flags, *(f"-I{folder}" for folder in folders), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("which", MODELS)
def test_every_layer_has_its_checksum(
    which: str, require_tool: Callable[..., str], program: Callable[[str], Path], tmp_path: Path
) -> None:
    """Sound: a build that expects another output names no layer, because each one gives what was stated. Faulty: each
    layer's checksum, made wrong, is the one that is named."""
    require_tool("gcc", "clang")
    model = compiled(which)
    library = write_library(model, tmp_path)
    identifier = model_identifier(model.model.name)
    header = library / "include" / f"{identifier}.h"
    header.write_text(re.sub(r"(_GOLDEN_CRC32) 0x\w+u", r"\1 0x00000001u", header.read_text()))
    elf = build_device(library, find_board("host"), tmp_path / "sound").elf
    with Device.open(f"exec:{elf}", timeout_s=TIMEOUT_S) as device:
        golden = device.golden()
        assert (golden.passed, golden.layer, golden.expected_crc32) == (False, "", 1)
        layers = device.bench(1, per_layer=True).layers
    stages = traced_stages(model.program)
    assert [layer.name for layer in layers] == [f"{s.operator_index} {s.stem}" for s in stages]
    table = library / "src" / f"{identifier}_golden.c"
    middle = len(stages) // 2
    index = f".operator_index = {stages[middle].operator_index},"
    wrong = re.sub(rf"\.crc32 = 0x\w+u, {index}", f".crc32 = 0x1u, {index}", table.read_text())
    table.write_text(wrong)
    elf = build_device(library, find_board("host"), tmp_path / "wrong").elf
    with Device.open(f"exec:{elf}", timeout_s=TIMEOUT_S) as device:
        assert device.golden().layer == layers[middle].name


def test_outputs_are_those_of_tflm(device: Device) -> None:
    model = compiled("default").model
    frames = np.random.default_rng(4).integers(-128, 128, (3, 60, 80, 3)).astype(np.int8)
    outputs = np.stack([device.infer(frame).output for frame in frames])
    assert np.array_equal(outputs, reference.run_tflm(model.flatbuffer, frames).reshape(outputs.shape))


@pytest.mark.parametrize("big_endian", [True, False])
def test_masks_and_decisions_are_those_of_the_contract(device: Device, big_endian: bool) -> None:
    masks = camera_masks(compiled("default").model, PICTURES, big_endian=big_endian)
    for picture, mask in zip(PICTURES, masks, strict=True):
        vision = device.infer_camera(picture, width_px=SIZE[0], height_px=SIZE[1], big_endian=big_endian)
        assert vision.mask == mask.tobytes()
        bits = np.unpackbits(mask, axis=-1, count=vision.width_px).astype(bool)
        seen = navigation.cover(bits)
        decided = vision.decision
        assert (decided.left_permille, decided.centre_permille, decided.right_permille) == (
            seen.left_permille,
            seen.centre_permille,
            seen.right_permille,
        )
        assert (decided.go, decided.steer) == navigation.judge(navigation.Policy(), seen)


def test_frames_of_other_sizes(device: Device) -> None:
    with pytest.raises(DeviceRefused, match="RANGE"):
        device.infer_camera(bytes(64), width_px=8, height_px=4, big_endian=True)
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        device.infer_camera(bytes(2 * 640 * 480), width_px=640, height_px=480, big_endian=True)
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        device.capture()


@pytest.mark.parametrize("arguments", [(), ("--camera-little-endian",)])
def test_capture_and_stream(
    arguments: tuple[str, ...], require_tool: Callable[..., str], program: Callable[[str], Path], tmp_path: Path
) -> None:
    require_tool("gcc", "clang")
    big_endian = not arguments
    masks = [mask.tobytes() for mask in camera_masks(compiled("default").model, PICTURES, big_endian=big_endian)]
    with Device.open(camera_program(program("default"), tmp_path, *arguments), timeout_s=TIMEOUT_S) as device:
        assert device.info().has_camera
        shot = device.capture()
        assert (shot.width_px, shot.height_px, shot.big_endian) == (*SIZE, big_endian)
        assert shot.pixels in PICTURES
        numbers = []
        for frame in device.stream():
            assert frame.picture is not None
            assert frame.mask == masks[PICTURES.index(frame.picture.pixels)]
            assert (frame.width_px, frame.height_px, frame.lost) == (80, 60, 0)
            numbers.append(frame.number)
            if len(numbers) == 5:
                break
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        without = next(device.stream(picture=False))
        assert without.picture is None
        assert without.mask in masks
        assert device.golden().passed  # the host still gets the model to itself
        info = device.info()
        device.infer(np.zeros(info.inputs[0].shape, np.int8))
