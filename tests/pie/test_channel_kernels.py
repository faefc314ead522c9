"""The ESP32-S3's kernels of 16 channels of one pixel, as vector code in QEMU: every width, stride and window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.kernels.esp32s3 import lane_digits
from codegen.kernels.esp32s3.conv_2d import Conv2D
from codegen.kernels.esp32s3.depthwise_conv_2d import DepthwiseConv2D, spans_of
from codegen.kernels.window import RowWindow
from codegen.program.target import ESP32S3
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes


class Network:
    """A chain of convolutions of random weights; `size` is (height, width, channels) of the last one's output."""

    def __init__(self, size: tuple[int, int, int], zero_point: int) -> None:
        self.b, self.rng = ModelBuilder(), np.random.default_rng(sum(size))
        self.source = self.last = self.b.activation((1, *size), 0.02, zero_point)

    def convolve(self, channels: int, window: tuple[int, int] = (1, 1), **options: Any) -> Network:
        depthwise = bool(options.get("depthwise"))
        depth = self.b.tensors[self.last]["shape"][3]
        shape = (1, *window, channels) if depthwise else (channels, *window, depth)
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        scales = list(self.rng.uniform(0.0005, 0.01, channels))
        quantization = {"scale": 0.04, "zero_point": -128}
        self.last = self.b.convolution(self.last, weights, scales, bias, **{**quantization, **options})
        return self

    def depthwise(self, window: tuple[int, int] = (3, 3), *, channels: int = 0, **options: Any) -> Network:
        channels = channels or self.b.tensors[self.last]["shape"][3]
        return self.convolve(channels, window, depthwise=True, **options)

    def finish(self) -> bytes:
        return self.b.finish([self.source], [self.last])


def small_images() -> bytes:
    """A first layer of few channels with stride 2, windows of every kind on few pixels, channels that fill none."""
    net = Network((13, 11, 3), 3)
    net.convolve(24, (3, 3), stride=(2, 2)).depthwise().convolve(48)
    net.depthwise(stride=(2, 2)).convolve(64).depthwise((5, 5)).convolve(80)
    return net.convolve(16, (3, 3)).depthwise((3, 3), padding="valid").convolve(5).finish()


def depth_multiplier() -> bytes:
    """A first layer of one channel: rows are copied."""
    return Network((19, 37, 1), -1).depthwise((3, 3), channels=8, stride=(2, 2)).convolve(24, (4, 3)).finish()


def tall_window() -> bytes:
    """Four copied rows of 15 values each."""
    return Network((9, 37, 3), 5).convolve(24, (4, 5), stride=(1, 2)).finish()


def no_window() -> bytes:
    """Copied rows of pixels that fill no vector."""
    return Network((2, 7, 13), 5).convolve(18).finish()


def large_window() -> bytes:
    """A copied window of 288 bytes, more than LLVM reaches in a frame without a register for it."""
    return Network((4, 16, 16), 5).convolve(32).convolve(64, (3, 3), stride=(2, 2)).finish()


def many_channels() -> bytes:
    """More than what registers hold: values are read again for each digit, in pairs of vectors and the rest."""
    return Network((2, 3, 16), -128).convolve(80).convolve(112).depthwise().convolve(128).convolve(10).finish()


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize("model", [small_images, depth_multiplier, tall_window, no_window, large_window, many_channels])
def test_networks_of_small_images_are_exact(model: Callable[[], bytes], tmp_path: Path) -> None:
    compiled = assert_exact(model(), tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    kernels = [stage.kernel for stage in compiled.program.stages if not stage.is_copy]
    assert all(isinstance(kernel, Conv2D | DepthwiseConv2D) for kernel in kernels), [k.template for k in kernels]
    assert isinstance(kernels[0], Conv2D)
    assert kernels[0].source == ("pixels" if model in (many_channels, large_window) else "lines")


def test_columns_are_divided_by_the_taps_that_are_inside() -> None:
    same = RowWindow(6, 5, 5, 1, 1, 2, 6)
    assert [(s.count, s.taps.start, s.taps.stop) for s in spans_of(same)] == [
        (1, 2, 5),
        (1, 1, 5),
        (2, 0, 5),
        (1, 0, 4),
        (1, 0, 3),
    ]
    narrow = RowWindow(1, 3, 3, 1, 1, 1, 1)
    assert [(s.count, s.taps.start, s.taps.stop) for s in spans_of(narrow)] == [(1, 1, 2)]


def test_the_proof_reads_the_bytes_of_the_table() -> None:
    """One byte changed is another weight, start or shift; a digit in another lane is another channel's."""
    compiled = compile_bytes(Network((2, 2, 48), -128).convolve(20).finish(), target=ESP32S3)
    stage = next(s for s in compiled.program.stages if isinstance(s.kernel, Conv2D))
    (table,), shape = stage.tables, stage.kernel.digits  # type: ignore[attr-defined]
    assert lane_digits.differences(shape, table) == ()
    begin = lane_digits.HEAD * 16
    for place in (0, 16, 16 * (1 + shape.taps), shape.group_bytes, shape.group_bytes + 16 + 3):
        values = table.values.copy()
        values[begin + place] ^= 1
        assert lane_digits.differences(shape, replace(table, values=values)), place
    wide = np.full_like(table.values, 127)
    assert any("do not fit 20 bits" in text for text in lane_digits.differences(shape, replace(table, values=wide)))
