"""RESIZE_NEAREST_NEIGHBOR against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.operators.resize_nearest_neighbor import nearest
from codegen.tflite import interpreters as reference
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize(
    ("size", "align_corners", "half_pixel_centers"),
    [
        pytest.param((10, 14), False, True, id="double"),
        pytest.param((15, 14), False, False, id="3x2-corner-origin"),
        pytest.param((8, 9), False, True, id="fraction"),
        pytest.param((9, 13), True, False, id="align-corners"),
        pytest.param((3, 2), False, True, id="shrink"),
        pytest.param((1, 1), True, False, id="to-one-pixel"),
    ],
)
def test_exact(size: tuple[int, int], align_corners: bool, half_pixel_centers: bool, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 5, 7, 3), 0.05, -20)
    out = b.resize_nearest(source, size, align_corners=align_corners, half_pixel_centers=half_pixel_centers)
    assert_exact(b.finish([source], [out]), tmp_path)


def test_each_of_several_images_is_resized(tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 4, 3), 0.05, -20)
    several = b.reshape(source, (2, 3, 4, 3))
    large = b.activation((2, 5, 7, 3), 0.05, -20)
    size = b.constant(np.array([5, 7], np.int32))
    b.operator("RESIZE_NEAREST_NEIGHBOR", [several, size], large, HalfPixelCenters=True)
    assert_exact(b.finish([source], [b.reshape(large, (1, 10, 7, 3))]), tmp_path)


@pytest.mark.parametrize("in_size", [3, 7, 10, 23, 255])
@pytest.mark.parametrize("mode", [(False, False), (False, True), (True, False), (True, True)])
def test_every_index_as_tflm(in_size: int, mode: tuple[bool, bool]) -> None:
    """Ratios that float32 rounds: each of many output sizes in one go, from a ramp that shows the index."""
    align_corners, half_pixel_centers = mode
    for out_size in range(1, 120, 7):
        b = ModelBuilder()
        source = b.activation((1, 1, in_size, 1), 1.0, 0)
        out = b.resize_nearest(
            source, (1, out_size), align_corners=align_corners, half_pixel_centers=half_pixel_centers
        )
        ramp = (np.arange(in_size) - 128).astype(np.int8).reshape(1, 1, in_size, 1)
        found = reference.run_tflm(b.finish([source], [out]), ramp).reshape(-1).astype(int) + 128
        wanted = nearest(in_size, out_size, align_corners=align_corners, half_pixel_centers=half_pixel_centers)
        np.testing.assert_array_equal(wanted, found)
