"""Upsampling folded into the depthwise convolution behind it, and where that must not happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.program.program import Program
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


def build(
    size: tuple[int, int] = (4, 5),
    factors: tuple[int, int] = (2, 2),
    zero_point: int = -128,
    read_twice: bool = False,
    **options: Any,
) -> bytes:
    rng = np.random.default_rng(4)
    b = ModelBuilder()
    source = b.activation((1, *size, 3), 0.02, 5)
    wide = rng.integers(-127, 128, (4, 1, 1, 3)).astype(np.int8)
    value = b.convolution(source, wide, [0.01] * 4, None, scale=0.03, zero_point=zero_point)
    big = b.resize_nearest(value, (size[0] * factors[0], size[1] * factors[1]))
    weights = rng.integers(-127, 128, (1, 3, 3, 4)).astype(np.int8)
    bias = rng.integers(-3000, 3000, 4).astype(np.int32)
    scales = list(rng.uniform(0.001, 0.02, 4))
    out = b.convolution(big, weights, scales, bias, depthwise=True, scale=0.04, zero_point=-128, **options)
    return b.finish([source], [b.concatenate([out, b.quantize(big, 0.04, -128)]) if read_twice else out])


def is_folded(program: Program) -> bool:
    return any("upsampled" in stage.kernel.template for stage in program.stages)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="2x2"),
        pytest.param({"factors": (3, 2)}, id="3x2"),
        pytest.param({"factors": (5, 2)}, id="5x2"),
        pytest.param({"size": (1, 4)}, id="one-row"),
        pytest.param({"activation": "relu6"}, id="relu6"),
    ],
)
def test_exact(options: dict[str, Any], tmp_path: Path) -> None:
    compiled = assert_exact(build(**options), tmp_path, builtin_ref=False)
    assert is_folded(compiled.program)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"factors": (2, 3)}, id="three-columns"),
        pytest.param({"factors": (1, 2)}, id="columns-only"),
        pytest.param({"size": (1, 1), "factors": (3, 2)}, id="one-pixel"),
        pytest.param({"size": (3, 1)}, id="one-column"),
        pytest.param({"zero_point": 3}, id="padding-is-not-0"),
        pytest.param({"read_twice": True}, id="read-twice"),
        pytest.param({"stride": (2, 2)}, id="stride"),
        pytest.param({"padding": "valid"}, id="valid"),
    ],
)
def test_not_folded_but_exact(options: dict[str, Any], tmp_path: Path) -> None:
    compiled = assert_exact(build(**options), tmp_path, builtin_ref=False)
    assert not is_folded(compiled.program)


def test_the_upsampled_image_does_not_exist() -> None:
    compiled = compile_bytes(build())
    resized = next(op.outputs[0] for op in compiled.graph.operators if op.stem == "resize_nearest_neighbor")
    assert resized not in compiled.program.rows
