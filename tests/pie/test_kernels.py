"""The ESP32-S3's kernels, as vector code in QEMU: rows of every ending, zero points, digits in several vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.arithmetic.one_multiply_search import Line
from codegen.kernels.esp32s3 import digits, lane_digits
from codegen.kernels.esp32s3.conv_2d import Conv2D
from codegen.kernels.esp32s3.conv_2d_pointwise import Conv2DPointwise
from codegen.kernels.esp32s3.digits import Digits
from codegen.kernels.esp32s3.lane_digits import LaneDigits
from codegen.program.kernel import Table
from codegen.program.target import ESP32S3
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

RELU = {"scale": 0.04, "zero_point": -128}


def _convolution(b: ModelBuilder, source: int, channels: int, *, depthwise: bool = False, **options: Any) -> int:
    rng = np.random.default_rng(channels)
    width = b.tensors[source]["shape"][3]
    shape = (1, 3, 3, width) if depthwise else (channels, 1, 1, width)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-2000, 2000, channels).astype(np.int32)
    return b.convolution(
        source, weights, list(rng.uniform(0.002, 0.01, channels)), bias, depthwise=depthwise, **{**RELU, **options}
    )


def every_kernel(width: int, channels: int, input_zero_point: int) -> bytes:
    """Depthwise, pointwise, pooling, upsampling; the last output is one that has to be copied out of its blocks."""
    b = ModelBuilder()
    source = b.activation((1, 6, width, 3), 0.02, input_zero_point)
    value = _convolution(b, source, 3, depthwise=True)
    value = _convolution(b, value, channels)
    value = b.max_pool(value, (2, 2), (2, 2), "valid")
    value = _convolution(b, value, channels, depthwise=True, zero_point=-128)
    value = b.resize_nearest(value, (6, b.tensors[value]["shape"][2] * 2))
    value = _convolution(b, value, channels, depthwise=True)
    return b.finish([source], [_convolution(b, value, 2)])


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize(("width", "channels", "zero_point"), [(10, 4, -128), (32, 17, 3), (70, 6, -128), (36, 12, 0)])
def test_every_kernel_is_exact(width: int, channels: int, zero_point: int, tmp_path: Path) -> None:
    flatbuffer = every_kernel(width, channels, zero_point)
    compiled = assert_exact(flatbuffer, tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    used = {stage.kernel.template for stage in compiled.program.stages}
    assert used == {f"esp32s3/{name}" for name in KERNELS}


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize(("channels", "kind"), [(120, Conv2DPointwise), (300, Conv2D)])
def test_many_products_have_smaller_digits(channels: int, kind: type, tmp_path: Path) -> None:
    """Which do not leave 20 bits."""
    b = ModelBuilder()
    source = b.activation((1, 1, 48, 3), 0.02, 3)
    value = _convolution(b, _convolution(b, source, channels), 5)
    flatbuffer = b.finish([source], [value])
    compiled = assert_exact(flatbuffer, tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    kernels = [stage.kernel for stage in compiled.program.stages if isinstance(stage.kernel, kind)]
    assert len(kernels) == 2
    assert kernels[1].digits.bits < 8  # type: ignore[attr-defined]


KERNELS = (
    "conv_2d_pointwise",
    "copy_blocks",
    "depthwise_conv_2d_3x3",
    "depthwise_conv_2d_3x3_upsampled",
    "max_pool_2d",
)


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize(("channels", "outputs", "zero_point"), [(4, 1, 5), (17, 3, -90), (5, 2, 126)])
def test_results_of_both_signs_are_two_lines(channels: int, outputs: int, zero_point: int, tmp_path: Path) -> None:
    """TFLite rounds them away from 0."""
    b = ModelBuilder()
    source = b.activation((1, 3, 40, 3), 0.02, 3)
    value = _convolution(b, _convolution(b, source, channels), outputs, scale=0.07, zero_point=zero_point)
    flatbuffer = b.finish([source], [value])
    compiled = assert_exact(flatbuffer, tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    assert_exact(flatbuffer, tmp_path / "portable", builtin_ref=False, target=ESP32S3)
    stage = [stage for stage in compiled.program.stages if isinstance(stage.kernel, Conv2DPointwise)][-1]
    kernel, (table,) = stage.kernel, stage.tables
    assert isinstance(kernel, Conv2DPointwise)
    assert kernel.halves == 2
    assert kernel.differences({"digits": table}) == ()
    for place in (16, 17):
        values = table.values.copy()
        values[place] ^= 1
        assert kernel.differences({"digits": replace(table, values=values)})
    swapped = (table.channels[1], table.channels[0], *table.channels[2:])
    assert kernel.differences({"digits": replace(table, channels=swapped)})


def test_a_layer_of_another_activation_keeps_the_portable_kernel() -> None:
    """Results are clamped to int8 by the shift and to nothing narrower."""
    b = ModelBuilder()
    source = b.activation((1, 4, 16, 4), 0.02, 3)
    value = _convolution(b, source, 4)
    value = _convolution(b, value, 4, activation="relu6", zero_point=-20)
    compiled = compile_bytes(b.finish([source], [_convolution(b, value, 4)]), target=ESP32S3)
    used = [stage.kernel.template for stage in compiled.program.stages]
    vector = ["esp32s3/copy_blocks", "esp32s3/conv_2d_pointwise", "esp32s3/copy_blocks"]
    assert used == [*vector, "portable/conv_2d_pointwise", *vector]
    assert not compiled.proofs.failures


def test_the_proof_reads_the_bytes_of_the_table() -> None:
    """One byte changed is another weight, start or shift; large digits make sums too wide."""
    compiled = compile_bytes(every_kernel(16, 4, 3), target=ESP32S3)
    stage = next(s for s in compiled.program.stages if s.kernel.template == "esp32s3/conv_2d_pointwise")
    (table,), shape = stage.tables, stage.kernel.digits  # type: ignore[attr-defined]
    assert digits.differences(shape, table, 1) == ()
    for place in (0, shape.taps, shape.shift_lane, (shape.count - 1) * shape.vectors * 16):
        values = table.values.copy()
        values[digits.HEAD * 16 + place] ^= 1
        assert digits.differences(shape, replace(table, values=values), 1)
    wide = Digits(33, 8, (1,))
    values = np.full(wide.table_bytes(1), 127, np.int8)
    sums = digits.sums_of(wide, replace(table, values=values, phases=1))
    assert "do not fit 20 bits" in digits.overflows("unit", sums, 8)[0]


def test_starts_of_both_signs_do_not_hide_one_another() -> None:
    """They add up to 0, but 34 of one sign leave 20 bits before the others are added, in whichever kind of digits."""
    starts = np.array([127, -127] * 34, np.int64)
    found = [
        digits.partial_sums(np.zeros((1, 1, *shape), np.int64), starts.reshape(1, -1, *shape), 8)
        for shape in ((), (1,))
    ]
    assert [(int(low.min()), int(high.max())) for low, high in found] == [(-34 * 127 * 128, 34 * 127 * 128)] * 2
    lanes = np.zeros((lane_digits.HEAD + 2 + len(starts) + lane_digits.AHEAD, 16), np.int8)
    lanes[lane_digits.HEAD + 2 : -lane_digits.AHEAD] = starts[:, None]
    table = Table("digits", lanes.reshape(-1), 16)
    wrong = lane_digits.differences(LaneDigits(1, 8, (len(starts),)), table)
    assert wrong == tuple(f"channel {c}: sums within -552704 .. 552704 do not fit 20 bits" for c in range(16))


@pytest.mark.parametrize(("last", "fits"), [(31, True), (32, False)])
def test_no_sum_may_take_the_lowest_value_of_20_bits(last: int, fits: bool) -> None:
    """-2^19, at which the manual and Espressif's emulator are not of one mind."""
    taps = np.array([127] * 32 + [last]).reshape(1, -1, 1)
    sums = digits.Sums(taps, np.zeros((1, 1, 1), np.int64), np.zeros(1, np.int64))
    assert (digits.overflows("unit", sums, 8) == []) == fits


def test_a_shift_of_more_than_five_bits_is_refused() -> None:
    """The unit would shift by what the lowest five bits say, even where the line itself is as certified."""
    compiled = compile_bytes(every_kernel(16, 4, 3), target=ESP32S3)
    stage = next(s for s in compiled.program.stages if s.kernel.template == "esp32s3/conv_2d_pointwise")
    (table,), shape = stage.tables, stage.kernel.digits  # type: ignore[attr-defined]
    units = table.values.copy()[digits.HEAD * 16 :].reshape(-1, shape.unit_bytes)
    units[:, shape.shift_lane] += 32
    longer = []
    for channel in table.channels:
        assert isinstance(channel.found, Line)
        longer.append(replace(channel, found=replace(channel.found, shift=channel.found.shift + 32)))
    values = np.concatenate([table.values[: digits.HEAD * 16], units.reshape(-1)])
    wrong = digits.differences(shape, replace(table, values=values, channels=tuple(longer)), 1)
    assert len(wrong) == len(units), wrong
    assert all("not by 0 .. 31" in text for text in wrong)


def test_each_of_several_copies_for_one_operator_has_a_name_of_its_own() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 16, 4), 0.02, -128)
    first, second = _convolution(b, source, 4), _convolution(b, source, 5)
    compiled = compile_bytes(b.finish([source], [b.concatenate([first, second])]), target=ESP32S3)
    copies = [stage.label for stage in compiled.program.stages if stage.is_copy]
    assert len(copies) == len(set(copies)) == 3
