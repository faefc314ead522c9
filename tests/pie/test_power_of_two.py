"""Weights of power-of-two scales on the ESP32-S3: one digit as they are, behind one of starts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.kernels.esp32s3 import digits
from codegen.program.target import ESP32S3
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

STEP = 2.0**-6


def model(width: int, channels: int, shifts: tuple[int, ...] = (6, 7, 8)) -> bytes:
    """Depthwise and pointwise layers, upsampled ones too, whose factors are 2**-k for k of `shifts` in turn."""
    b, rng = ModelBuilder(), np.random.default_rng(width)
    source = value = b.activation((1, 4, width, 3), 2.0**-7, 0)
    # Depthwise, its output's channels.
    for depthwise, wide in ((True, 3), (False, channels), (True, channels), (False, 5), (None, 5), (False, channels)):
        if depthwise is None:
            value = b.resize_nearest(value, (8, 2 * width))
        before = b.tensors[value]
        shape = (1, 3, 3, wide) if depthwise in (True, None) else (wide, 1, 1, before["shape"][3])
        factors = 2.0 ** -np.resize(np.array(shifts), wide)
        value = b.convolution(
            value,
            np.clip(np.round(rng.normal(0, 32 if channels < 100 else 8, shape)), -127, 127).astype(np.int8),
            (factors * STEP / before["scales"][0]).tolist(),
            rng.integers(-3000, 3000, wide).astype(np.int32),
            scale=STEP,
            zero_point=-128,
            depthwise=depthwise in (True, None),
        )
    return b.finish([source], [value])


def kernels(compiled: Any) -> list[Any]:
    return [stage.kernel for stage in compiled.program.stages if hasattr(stage.kernel, "digits")]


@pytest.mark.usefixtures("pie_tools")
@pytest.mark.parametrize(("width", "channels"), [(36, 4), (32, 150)])
def test_one_digit_is_exact(width: int, channels: int, tmp_path: Path) -> None:
    """Rows that end within a block, tables of several vectors a channel."""
    compiled = assert_exact(model(width, channels), tmp_path, board="esp32s3-qemu", builtin_ref=False, target=ESP32S3)
    used = kernels(compiled)
    assert {kernel.template for kernel in used} == {
        f"esp32s3/{name}" for name in ("conv_2d_pointwise", "depthwise_conv_2d_3x3", "depthwise_conv_2d_3x3_upsampled")
    }
    assert [kernel.digits.bare for kernel in used if "upsampled" not in kernel.template] == [1] * 5
    assert all(kernel.digits.count == 2 for kernel in used if kernel.digits.bare)


def test_starts_that_take_too_many_bytes_have_digits_of_weights() -> None:
    """Of a depthwise kernel, whose weights and starts are one vector."""
    compiled = compile_bytes(model(36, 4, shifts=(11,)), target=ESP32S3)
    assert {kernel.digits.bare for kernel in kernels(compiled) if "depthwise" in kernel.template} == {0}
    assert not compiled.proofs.failures


def test_a_weight_in_a_digit_that_multiplies_nothing_is_found() -> None:
    compiled = compile_bytes(model(36, 4), target=ESP32S3)
    stage = next(stage for stage in compiled.program.stages if stage.kernel.template == "esp32s3/conv_2d_pointwise")
    (table,), values = stage.tables, stage.tables[0].values.copy()
    values[digits.HEAD * 16] = 1
    wrong = digits.differences(stage.kernel.digits, replace(table, values=values), 1)  # type: ignore[attr-defined]
    assert any("no values are multiplied" in text for text in wrong)
