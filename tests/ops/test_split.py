"""Depthwise convolutions over concatenations: split where that is the same function, and exact everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact

pytestmark = pytest.mark.usefixtures("compiler")


def build(
    *,
    axis: int = 3,
    multiplier: int = 1,
    read_twice: bool = False,
    per_channel: bool = True,
    bias: bool = True,
    **options: Any,
) -> bytes:
    """Two images, one of them upsampled, joined and convolved depthwise."""
    rng = np.random.default_rng(8)
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 2), 0.02, 3)

    def pointwise(value: int, channels: int, scale: float) -> int:
        weights = rng.integers(-127, 128, (channels, 1, 1, b.tensors[value]["shape"][3])).astype(np.int8)
        return b.convolution(value, weights, [0.01] * channels, None, scale=scale, zero_point=-128)

    wide = pointwise(source, 3, 0.05)
    deep = pointwise(b.max_pool(wide, (2, 2), (2, 2)), 5 if axis == 3 else 3, 0.05)
    joined = b.concatenate([b.resize_nearest(deep, (6, 8)), wide], axis=axis)
    channels = b.tensors[joined]["shape"][3] * multiplier
    weights = rng.integers(-127, 128, (1, 3, 3, channels)).astype(np.int8)
    scales = list(rng.uniform(0.001, 0.02, channels if per_channel else 1))
    values = rng.integers(-3000, 3000, channels).astype(np.int32) if bias else None
    out = b.convolution(joined, weights, scales, values, depthwise=True, scale=0.04, zero_point=-9, **options)
    return b.finish([source], [b.concatenate([out, b.quantize(joined, 0.04, -9)]) if read_twice else out])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="same"),
        pytest.param({"per_channel": False}, id="per-tensor"),
        pytest.param({"bias": False}, id="no-bias"),
        pytest.param({"stride": (2, 2)}, id="stride"),
        pytest.param({"padding": "valid", "activation": "relu"}, id="valid"),
    ],
)
def test_split_is_exact(options: dict[str, Any], tmp_path: Path) -> None:
    compiled = assert_exact(build(**options), tmp_path, builtin_ref=False)
    parts = [stage for stage in compiled.program.stages if stage.part]
    assert [stage.part for stage in parts] == ["a", "b"]
    joined = next(op.outputs[0] for op in compiled.graph.operators if op.stem == "concatenation")
    assert joined not in compiled.program.rows
    depthwise = next(op for op in compiled.graph.operators if op.stem == "depthwise_conv_2d")
    assert {stage.operator_index for stage in parts} == {depthwise.index}
    assert compiled.program.macs == sum(stage.macs for stage in compiled.program.stages)


def test_upsampling_behind_a_skip_connection_is_folded(tmp_path: Path) -> None:
    program = assert_exact(build(), tmp_path, builtin_ref=False).program
    assert [stage.kernel.template for stage in program.stages if stage.part] == [
        "portable/depthwise_conv_2d_3x3_upsampled",
        "portable/depthwise_conv_2d_3x3",
    ]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"axis": 1}, id="joined-by-rows"),
        pytest.param({"multiplier": 2}, id="two-outputs-for-each-channel"),
        pytest.param({"read_twice": True}, id="read-twice"),
    ],
)
def test_not_split_but_exact(options: dict[str, Any], tmp_path: Path) -> None:
    compiled = assert_exact(build(**options), tmp_path, builtin_ref=False)
    assert not any(stage.part for stage in compiled.program.stages)
