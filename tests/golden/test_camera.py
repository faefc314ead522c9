"""Raw bytes of the camera -> bit-packed mask: the generated C against Python, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from codegen.graph.model import RESIZE_FILTERS, CameraSize, Preprocessing, QuantizedModel, segmentation
from codegen.library.camera_resize import camera_files
from codegen.library.write import write_project
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.library import open_model, render_library
from nanou_deploy.device.rgb565 import camera_frame, decode_rgb565
from nanou_deploy.verify.emulate import run_harness
from nanou_train.data.images import Picture, camera_pixels
from nanou_train.data.terrain import generate
from tests.camera_masks import camera_masks
from tests.conftest import missing
from tests.navigation import Cover, cover

SANITIZED = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror",
             "-fsanitize=address,undefined", "-fno-sanitize-recover=all")  # fmt: skip
HEADER = """
#include <stddef.h>
#include <stdint.h>
#define EYE_INPUT_HEIGHT_PX {height_px}
#define EYE_INPUT_WIDTH_PX {width_px}
#define EYE_INPUT_CHANNELS {channels}
extern const int8_t eye_input_lookup[256];
"""
DESCRIPTION = {
    "id": "eye",
    "ID": "EYE",
    "generator": "test",
    "inputs": [{"macro": "EYE_INPUT"}],
    "picture_input": 0,
    "input_lookup": [()],
}
# Reads both byte orders of one picture, writes the rows of each. The lookup is v - 128. Rows come from a buffer of
# their own, so that the sanitizer sees a read beside one.
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "eye_camera.h"
const int8_t eye_input_lookup[256] = {%s};
static uint8_t row[EYE_CAMERA_ROW_BYTES];
static uint8_t frame[EYE_CAMERA_FRAME_BYTES];
static uint32_t next_y;
static const uint8_t *next_row(void *user, uint32_t y) {
    if (y < next_y || y >= EYE_CAMERA_HEIGHT_PX || user != frame) abort();
    next_y = y + 1;
    for (uint32_t i = 0; i < sizeof row; i++) row[i] = frame[y * sizeof row + i];
    return row;
}
int main(void) {
    eye_camera_t *camera = malloc(sizeof *camera);
    int8_t *out = malloc(EYE_INPUT_WIDTH_PX * EYE_INPUT_CHANNELS);
    for (int big = 1; big >= 0; big--) {
        if (fread(frame, 1, sizeof frame, stdin) != sizeof frame) return 1;
        next_y = 0;
        eye_camera_begin(camera, next_row, frame, big);
        for (uint32_t y = 0; y < EYE_INPUT_HEIGHT_PX; y++) {
            if (eye_camera_read_row(camera, y, out) != 0) return 2;
            if (fwrite(out, 1, EYE_INPUT_WIDTH_PX * EYE_INPUT_CHANNELS, stdout) == 0) return 3;
        }
        if (eye_camera_read_row(camera, EYE_INPUT_HEIGHT_PX, out) == 0) return 4;
    }
    free(out);
    free(camera);
    return 0;
}
"""


@pytest.fixture(autouse=True, scope="module")
def gcc() -> None:
    if shutil.which("gcc") is None:
        missing("gcc")


@given(
    st.sampled_from(RESIZE_FILTERS),
    st.builds(CameraSize, st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(3, "RGB"), (3, "BGR"), (1, "RGB")]),
)
@example("box", CameraSize(160, 120), (96, 96), (3, "RGB"))
@example("lanczos", CameraSize(160, 120), (80, 60), (1, "RGB"))
@example("bicubic", CameraSize(8, 6), (20, 10), (3, "BGR"))  # windows that would go back if cut short
@settings(max_examples=12)
def test_rows_are_those_of_pillow(
    name: str, camera: CameraSize, size: tuple[int, int], components: tuple[int, str]
) -> None:
    contract = Preprocessing(size[1], size[0], components[0], resize_filter=name, color_order=components[1])
    words = np.random.default_rng(camera.width_px).integers(0, 65536, (camera.height_px, camera.width_px))
    frames = [words.astype(kind).tobytes() for kind in (">u2", "<u2")]
    pixels = decode_rgb565(frames[0], camera, big_endian=True)
    wanted = camera_pixels(Picture(Path("frame"), Image.fromarray(pixels)), contract).astype(np.int16) - 128
    got = _run_preprocessing(contract, camera, b"".join(frames)).reshape(2, *wanted.shape)
    np.testing.assert_array_equal(got[0], wanted)
    np.testing.assert_array_equal(got[1], wanted)


def _run_preprocessing(contract: Preprocessing, camera: CameraSize, frames: bytes) -> npt.NDArray[np.int8]:
    model = QuantizedModel("camera", b"", segmentation(contract), camera=camera)
    sizes = {"height_px": contract.height_px, "width_px": contract.width_px, "channels": contract.channels}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in camera_files(model, contract, DESCRIPTION | {"model": model, "picture": contract}).items():
            (folder / Path(path).name).write_text(text)
        (folder / "eye.h").write_text(HEADER.format(**sizes))
        (folder / "main.c").write_text(PROGRAM % ",".join(str(v - 128) for v in range(256)))
        command = ["gcc", *SANITIZED, "main.c", "eye_camera.c", "-o", "program"]
        subprocess.run(command, cwd=folder, check=True)
        done = subprocess.run([folder / "program"], input=frames, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.int8)


# ---- Whole models ----------------------------------------------------------------------------------------------

Frame = tuple[bool, bytes]  # big endian, RGB565


def rendered_frames(count: int, camera: CameraSize) -> list[Frame]:
    """Terrain as the camera would send it, in both byte orders by turns."""
    images, _ = generate(count, seed=7, height_px=60, width_px=80)
    return [(n % 2 == 0, camera_frame(Image.fromarray(i), camera, big_endian=n % 2 == 0)) for n, i in enumerate(images)]


def write_library(model: QuantizedModel, board: str, folder: Path) -> Path:
    write_project(render_library(model, "aot", find_board(board)), folder / "nanou_model")
    return folder / "nanou_model"


def check_masks(
    model: QuantizedModel, library: Path, board: str, frames: Sequence[Frame], *, sanitize: bool = False
) -> None:
    """Masks and covers of the C on `board` are those of Pillow, TFLM and NumPy."""
    build = build_harness(library, find_board(board), library.parent / board, sanitize=sanitize, camera=True)
    run = run_harness(build, np.stack([np.frombuffer(bytes([big]) + data, np.int8) for big, data in frames]))
    width_px = load_graph(model.flatbuffer).output.shape[2]
    for big_endian in (True, False):
        chosen = [index for index, (big, _) in enumerate(frames) if big is big_endian]
        masks = camera_masks(model, [frames[index][1] for index in chosen], big_endian=big_endian) if chosen else ()
        for index, mask in zip(chosen, masks, strict=True):
            record = run.outputs[index].view(np.uint8)
            np.testing.assert_array_equal(record[:-6].reshape(mask.shape), mask, err_msg=f"picture {index}")
            wanted = cover(np.unpackbits(mask, axis=-1)[:, :width_px].astype(bool))
            assert Cover(*map(int, np.frombuffer(record[-6:].tobytes(), "<u2"))) == wanted


def test_masks_under_sanitizers(tmp_path: Path) -> None:
    model = open_model(None)
    library = write_library(model, "host", tmp_path)
    check_masks(model, library, "host", rendered_frames(2, model.camera), sanitize=True)


def test_masks_with_another_filter_size_and_order(tmp_path: Path) -> None:
    model = open_model(None, CameraSize(96, 96))
    contract = replace(model.preprocessing, resize_filter="bicubic", color_order="BGR", mean=(0.5, 0.47, 0.52))
    model = replace(model, contract=segmentation(contract, 0.8))
    check_masks(model, write_library(model, "host", tmp_path), "host", rendered_frames(2, model.camera))


def test_masks_on_emulated_processors(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("qemu-system-riscv32")
    require_tool("riscv64-unknown-elf-gcc")
    model = open_model(None)
    library = write_library(model, "rv32-qemu", tmp_path)
    check_masks(model, library, "rv32-qemu", rendered_frames(2, model.camera))
    check_masks(model, library, "esp32c3-sim", rendered_frames(1, model.camera))


def test_masks_of_real_pictures(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    paths = sorted((shared_data("ycor") / "test" / "img").glob("*.png"))[:50]
    model = open_model(None)
    frames = [
        (big, camera_frame(Image.open(path), model.camera, big_endian=big)) for path in paths for big in (True, False)
    ]
    assert len(frames) == 100
    check_masks(model, write_library(model, "host", tmp_path), "host", frames)
