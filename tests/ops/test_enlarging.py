"""RESIZE_BILINEAR and TRANSPOSE_CONV against TFLM, and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import (
    Activation,
    assert_oracle_is_tflm,
    constant,
    drawn,
    drawn_zero_point,
    model_of,
)


def test_bilinear_is_tflms() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        size, mode, zero_point = rng.integers(1, 15, 2).tolist(), int(rng.integers(0, 3)), drawn_zero_point(rng)
        source, output = Activation((1, 5, 6, 3), 0.1, zero_point), Activation((1, *size, 3), 0.1, zero_point)
        fields = {"AlignCorners": mode == 1, "HalfPixelCenters": mode == 2}
        flatbuffer = model_of("RESIZE_BILINEAR", source, (constant(size),), output, "ResizeBilinearOptions", **fields)
        assert_oracle_is_tflm(flatbuffer)


def transposed(
    rng: np.random.Generator, shape: tuple[int, ...], out_channels: int, kernel: Any, stride: Any, padding: str
) -> tuple[tuple[Any, ...], Activation, dict[str, Any]]:
    """Constants, output and options of TRANSPOSE_CONV."""
    (_, height, width, channels), scales = shape, [drawn(rng, 0.002, 0.1) for _ in range(out_channels)]
    size = (
        (height * stride[0], width * stride[1])
        if padding == "same"
        else ((height - 1) * stride[0] + kernel[0], (width - 1) * stride[1] + kernel[1])
    )
    weights = rng.integers(-127, 128, (out_channels, *kernel, channels)).astype(np.int8)
    output = Activation((1, *size, out_channels), 0.1, drawn_zero_point(rng))
    bias = (rng.integers(-500, 500, out_channels).astype(np.int32), [0.05 * scale for scale in scales])
    fields = {"Padding": int(padding == "valid"), "StrideH": stride[0], "StrideW": stride[1]}
    return (constant(list(output.shape)), (weights, scales), bias), output, fields


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_convolution_is_tflms(padding: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(12):
        height, width, channels, out_channels = rng.integers(1, 6, 4).tolist()
        kernel, stride = rng.integers(1, 4, 2).tolist(), rng.integers(1, 4, 2).tolist()
        shape = (1, height, width, channels)
        (size, weights, bias), output, fields = transposed(rng, shape, out_channels, kernel, stride, padding)
        b = ModelBuilder()
        source = b.activation(shape, 0.05, drawn_zero_point(rng))
        inputs = [b.constant(size), b.constant(*weights), source, b.constant(*bias)]
        result = b.activation(output.shape, output.scale, output.zero_point)
        b.operator("TRANSPOSE_CONV", inputs, result, "TransposeConvOptions", **fields)
        assert_oracle_is_tflm(b.finish([source], [result]))


def sample(zero_point: int = -128) -> bytes:
    rng = np.random.default_rng(2)
    b = ModelBuilder()
    source = b.activation((1, 4, 3, 2), 0.05, zero_point)
    (size, weights, bias), output, fields = transposed(rng, (1, 4, 3, 2), 3, (3, 2), (2, 3), "same")
    grown = b.activation(output.shape, output.scale, zero_point)
    inputs = [b.constant(size), b.constant(*weights), source, b.constant(*bias)]
    b.operator("TRANSPOSE_CONV", inputs, grown, "TransposeConvOptions", **fields)
    resized = b.activation((1, 11, 13, 3), output.scale, zero_point)
    inputs = [grown, b.constant(constant([11, 13]))]
    b.operator("RESIZE_BILINEAR", inputs, resized, "ResizeBilinearOptions", HalfPixelCenters=True)
    return b.finish([source], [resized])


@pytest.mark.parametrize("zero_point", [-128, 9])
def test_enlarged_twice_as_compiled_c(zero_point: int, compiler: None, tmp_path: Path) -> None:
    assert_exact(sample(zero_point), tmp_path, builtin_ref=False)


def test_an_output_that_the_input_cannot_give_is_refused() -> None:
    rng = np.random.default_rng(2)
    b = ModelBuilder()
    source = b.activation((1, 4, 3, 2), 0.05, 0)
    (_, weights, bias), _, fields = transposed(rng, (1, 4, 3, 2), 3, (3, 2), (2, 3), "same")
    wrong = (1, 20, 9, 3)
    inputs = [b.constant(constant(list(wrong))), b.constant(*weights), source, b.constant(*bias)]
    b.operator("TRANSPOSE_CONV", inputs, b.activation(wrong, 0.1, 0), "TransposeConvOptions", **fields)
    with pytest.raises(ModelError, match="cannot give"):
        compile_bytes(b.finish([source], [len(b.tensors) - 1]))
