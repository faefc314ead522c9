"""The camera contract without a compiler: its tables against Pillow, and the Python truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from codegen.errors import ModelError
from codegen.graph.model import RESIZE_FILTERS, CameraSize, Preprocessing
from codegen.library.camera_resize import Axis, resize_axis
from codegen.tflite.files import load_model, save_model
from nanou_deploy.build.library import open_model
from nanou_deploy.cli import cli
from nanou_deploy.device.rgb565 import decode_rgb565, encode_rgb565
from nanou_deploy.errors import DeployError
from nanou_train.data.images import Picture, camera_pixels

Pixels = npt.NDArray[np.uint8]
SIZE = st.integers(1, 90)


def resize(axis: Axis, pixels: Pixels) -> Pixels:
    """Along the first dimension of uint8 (in, others)."""
    windows = np.stack([pixels[start : start + axis.taps] for start in axis.first]).astype(np.int64)
    sums = np.einsum("otk,ot->ok", windows, axis.weights.astype(np.int64))
    return np.clip((sums + axis.half) >> axis.shift, 0, 255).astype(np.uint8)


def pictures(width_px: int, height_px: int) -> list[Pixels]:
    """Noise, and noise of extremes only, which makes filters overshoot."""
    noise = np.random.default_rng(width_px * 1000 + height_px).integers(0, 256, (height_px, width_px))
    return [noise.astype(np.uint8), np.where(noise > 127, 255, 0).astype(np.uint8)]


@given(st.sampled_from(RESIZE_FILTERS), SIZE, SIZE, SIZE, SIZE)
@example("box", 160, 120, 80, 60)
@example("bicubic", 160, 120, 96, 96)
@example("lanczos", 320, 240, 80, 60)
@example("box", 160, 120, 146, 66)  # Pillow 13 left to itself takes rows first
def test_tables_resize_as_training_does(name: str, width: int, height: int, out_width: int, out_height: int) -> None:
    contract = Preprocessing(out_height, out_width, 1, resize_filter=name)
    columns, rows = resize_axis(width, out_width, name), resize_axis(height, out_height, name)
    for picture in pictures(width, height):
        wanted = camera_pixels(Picture(Path("frame"), Image.fromarray(picture)), contract)[..., 0]
        np.testing.assert_array_equal(resize(rows, resize(columns, picture.T).T), wanted)


@given(st.sampled_from(RESIZE_FILTERS), SIZE, SIZE)
@example("bicubic", 6, 10)  # weights of exactly 0 at the ends of some windows
def test_windows_lie_inside_and_never_go_back(name: str, in_px: int, out_px: int) -> None:
    axis = resize_axis(in_px, out_px, name)
    assert axis.first.shape == (out_px,)
    assert axis.first.min() >= 0
    assert axis.first.max() + axis.taps <= in_px
    assert np.all(np.diff(axis.first) >= 0)
    assert max(map(abs, axis.extremes)) < 2**31


def test_halving_is_two_equal_weights() -> None:
    axis = resize_axis(160, 80, "box")
    assert (axis.taps, axis.shift, np.unique(axis.weights).tolist()) == (2, 1, [1])


def test_the_filters_are_pillows() -> None:
    assert set(RESIZE_FILTERS) <= {member.name.lower() for member in Image.Resampling}
    with pytest.raises(ModelError, match="sinc"):
        Preprocessing(4, 2, resize_filter="sinc")


@pytest.mark.parametrize("big_endian", [True, False])
def test_every_rgb565_value_survives_both_ways(big_endian: bool) -> None:
    data = np.arange(65536, dtype=">u2" if big_endian else "<u2").tobytes()
    pixels = decode_rgb565(data, CameraSize(256, 256), big_endian=big_endian)
    assert encode_rgb565(pixels, big_endian=big_endian) == data
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[255, 255].tolist() == [255, 255, 255]
    assert decode_rgb565(b"\xf8\x00", CameraSize(1, 1), big_endian=True).ravel().tolist() == [255, 0, 0]
    assert decode_rgb565(b"\x10\x84", CameraSize(1, 1), big_endian=False).ravel().tolist() == [132, 130, 132]


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(DeployError, match="38398 bytes are no RGB565 picture of 160x120"):
        decode_rgb565(b"\x00" * 38398, CameraSize(160, 120), big_endian=True)


def test_the_sidecar_keeps_the_cameras_size(tmp_path: Path) -> None:
    model = replace(open_model(None), camera=CameraSize(96, 96))
    save_model(model, tmp_path / "model.tflite")
    assert load_model(tmp_path / "model.tflite").camera == CameraSize(96, 96)
    assert open_model(tmp_path / "model.tflite", CameraSize(320, 240)).camera == CameraSize(320, 240)
    assert open_model(None).camera == CameraSize(160, 120)


@pytest.mark.parametrize("size", ["160", "0x120", "160x120x3", "9999x120", "axb"])
def test_a_size_that_is_none_is_wrong_usage(size: str) -> None:
    result = CliRunner().invoke(cli, ["generate", "--camera", size])
    assert result.exit_code == 2
    assert "160x120" in result.output
