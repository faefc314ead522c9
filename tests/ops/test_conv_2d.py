"""CONV_2D against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError, UnsupportedError
from codegen.program.target import REGISTERS_16
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


def build(
    kernel: tuple[int, int] = (3, 3),
    channels: tuple[int, int] = (3, 5),
    size: tuple[int, int] = (7, 6),
    bias: bool = True,
    weight_scales: int = 5,
    **options: Any,
) -> bytes:
    rng = np.random.default_rng(1)
    b = ModelBuilder()
    source = b.activation((1, *size, channels[0]), 0.02, options.pop("input_zero_point", -3))
    weights = rng.integers(-127, 128, (channels[1], *kernel, channels[0])).astype(np.int8)
    values = rng.integers(-3000, 3000, channels[1]).astype(np.int32) if bias else None
    scales = list(rng.uniform(0.001, 0.02, weight_scales))
    options.setdefault("scale", 0.05)
    options.setdefault("zero_point", 10)
    return b.finish([source], [b.convolution(source, weights, scales, values, **options)])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"kernel": (1, 1)}, id="pointwise"),
        pytest.param({"kernel": (1, 1), "channels": (9, 4), "size": (3, 8), "weight_scales": 4}, id="whole-blocks"),
        pytest.param({"kernel": (1, 1), "channels": (2, 6), "size": (2, 1), "weight_scales": 6}, id="parts-of-blocks"),
        pytest.param({"kernel": (1, 1), "zero_point": -128, "activation": "relu6"}, id="pointwise-relu6"),
        pytest.param({"kernel": (1, 1), "scale": 0.0002, "zero_point": 0}, id="pointwise-left-shift"),
        pytest.param({"padding": "same"}, id="same"),
        pytest.param({"padding": "valid"}, id="valid"),
        pytest.param({"stride": (2, 1)}, id="strides"),
        pytest.param({"stride": (3, 2), "padding": "valid", "kernel": (2, 3)}, id="window-smaller-than-stride"),
        pytest.param({"dilation": (2, 2)}, id="dilation"),
        pytest.param({"kernel": (5, 4), "size": (3, 3)}, id="window-larger-than-image"),
        pytest.param({"activation": "relu"}, id="relu"),
        pytest.param({"activation": "relu6", "zero_point": -128}, id="relu6"),
        pytest.param({"activation": "relu_n1_to_1"}, id="relu-n1-to-1"),
        pytest.param({"bias": False}, id="no-bias"),
        pytest.param({"weight_scales": 1, "channels": (3, 1)}, id="per-tensor"),
        pytest.param({"scale": 0.0002, "zero_point": 0}, id="left-shift"),
        pytest.param({"scale": 90.0, "zero_point": 5}, id="large-right-shift"),
        pytest.param({"input_zero_point": 127}, id="zero-point-127"),
        pytest.param({"input_zero_point": -128, "zero_point": -128}, id="zero-points-minus-128"),
    ],
)
def test_exact(options: dict[str, Any], tmp_path: Path) -> None:
    # TFLite's own kernels insist on a bias; TFLM does not.
    assert_exact(build(**options), tmp_path, builtin_ref=options.get("bias", True))


def test_pointwise_needs_one_multiply_and_anything_else_is_exact_too() -> None:
    compiled = [compile_bytes(build(kernel=kernel), target=REGISTERS_16) for kernel in ((1, 1), (3, 3))]
    templates = {one.program.stages[0].kernel.template for one in compiled}
    assert templates == {"portable/conv_2d_pointwise", "portable/conv_2d"}


def test_accumulator_bound_is_reached() -> None:
    """The stated bounds are those of a real worst case: all weights 127, input at either extreme."""
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, -28)
    weights = np.full((1, 1, 1, 2), 127, np.int8)
    out = b.convolution(source, weights, [0.1], np.array([7], np.int32), scale=1.0, zero_point=0)
    bound = compile_bytes(b.finish([source], [out])).program.stages[0].accumulator
    assert bound is not None
    assert (bound.low, bound.high) == (2 * 127 * (-128 + 28), 2 * 127 * (127 + 28) + 7)


def test_overflowing_accumulator_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, 0)
    weights = np.full((1, 1, 1, 2), 127, np.int8)
    bias = np.array([2**31 - 100], np.int32)
    out = b.convolution(source, weights, [0.1], bias, scale=1.0, zero_point=0)
    with pytest.raises(UnsupportedError, match=r"operator 0 \(CONV_2D\): channel 0 can overflow"):
        compile_bytes(b.finish([source], [out]))


def test_wrong_output_shape_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, 0)
    out = b.convolution(source, np.ones((1, 1, 1, 2), np.int8), [0.1], None, scale=1.0, zero_point=0)
    b.tensors[out]["shape"] = (1, 4, 5, 1)
    with pytest.raises(ModelError, match="states output 4x5, its window gives 4x4"):
        compile_bytes(b.finish([source], [out]))
