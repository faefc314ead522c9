"""The ESP32-S3's kernels of sums, byte functions and pools, as vector code in QEMU, between convolutions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.arithmetic.clamped_sum import find_clamped_sum, slope_of
from codegen.kernels.esp32s3.pool_pixels import PoolPixels
from codegen.kernels.esp32s3.scaled_sum import ScaledValues
from codegen.kernels.pooling import rounded_mean
from codegen.program.target import ESP32S3
from tests.exactness import assert_exact, compile_bytes
from tests.ops.test_add import add
from tests.pie.test_channel_kernels import Network


def pool(net: Network, name: str, window: tuple[int, int], stride: int) -> None:
    _, height, width, channels = net.b.tensors[net.last]["shape"]
    size = ((height - window[0]) // stride + 1, (width - window[1]) // stride + 1)
    output = net.b.activation((1, *size, channels), *_scale(net))
    fields = {"StrideH": stride, "StrideW": stride, "FilterHeight": window[0], "FilterWidth": window[1], "Padding": 1}
    net.last = net.b.operator(name, [net.last], output, "Pool2DOptions", **fields)


def _scale(net: Network) -> tuple[float, int]:
    tensor = net.b.tensors[net.last]
    return tensor["scales"][0], tensor["zeros"][0]


def residual(size: tuple[int, int, int], channels: int) -> bytes:
    """A sum of two branches of different scales, RELU with another scale, QUANTIZE; pools and a head of few pixels."""
    net = Network(size, 3).convolve(channels, (3, 3), scale=0.05, zero_point=-128)
    before = net.last
    net.depthwise(scale=0.031, zero_point=-128).convolve(channels, scale=0.043, zero_point=-128)
    net.last = add(net.b, before, net.last, 0.07, -128, "relu")
    output = net.b.activation(net.b.tensors[net.last]["shape"], 0.05, -128)
    net.last = net.b.operator("RELU", [net.last], output, None)
    net.last = net.b.quantize(net.last, 0.09, -100)
    net.last = net.b.quantize(net.last, 0.08, -128)
    net.convolve(channels)
    pool(net, "MAX_POOL_2D", (3, 2), 2)
    net.convolve(channels)
    pool(net, "AVERAGE_POOL_2D", (2, 3), 1)
    return net.convolve(channels).finish()


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize(("size", "channels"), [((9, 12, 3), 16), ((9, 12, 5), 20), ((8, 35, 3), 4)])
def test_networks_of_sums_and_pools_are_exact(size: tuple[int, int, int], channels: int, tmp_path: Path) -> None:
    flatbuffer = residual(size, channels)
    compiled = assert_exact(flatbuffer, tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    kinds = [type(stage.kernel) for stage in compiled.program.stages]
    assert kinds.count(ScaledValues) == 4, [stage.kernel.template for stage in compiled.program.stages]
    assert kinds.count(PoolPixels) == (2 if channels > 4 else kinds.count(PoolPixels))


@pytest.mark.parametrize("place", range(32))
def test_the_proof_reads_the_bytes_of_the_digits(place: int) -> None:
    compiled = compile_bytes(residual((9, 12, 3), 16), target=ESP32S3)
    stages = [s for s in compiled.program.stages if isinstance(s.kernel, ScaledValues | PoolPixels) and s.tables]
    assert {type(s.kernel) for s in stages} == {ScaledValues, PoolPixels}
    for stage in stages:
        (table,), kernel = stage.tables, stage.kernel
        assert kernel.differences({"digits": table}) == ()
        used = kernel.digits.lanes[-1][1].stop  # type: ignore[attr-defined]
        if 16 <= place < 16 + used or place == 31:
            values = table.values.copy()
            values[place] ^= 64 if place < 31 else 3
            assert kernel.differences({"digits": replace(table, values=values)}), place


def test_means_of_halves_are_rounded_away_from_zero() -> None:
    sums = np.arange(-512, 509)
    expected = rounded_mean(sums, np.array(4))
    assert expected[sums == -2] == -1
    assert expected[sums == 2] == 1
    line = find_clamped_sum(expected, (sums,), (1 / 4,), 128)
    assert line is not None
    assert (line.apply([sums]) == expected).all()


def test_what_is_no_line_is_refused() -> None:
    values = np.arange(-128, 128)
    assert slope_of(np.abs(values) - 1) is None
    assert slope_of(-values - 1) is None
    assert find_clamped_sum(np.where(values < 0, values // 3, values), (values,), (1.0,), 128) is None
