"""DEPTHWISE_CONV_2D against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


def build(
    kernel: tuple[int, int] = (3, 3),
    channels: int = 4,
    multiplier: int = 1,
    size: tuple[int, int] = (7, 6),
    bias: bool = True,
    **options: Any,
) -> bytes:
    rng = np.random.default_rng(2)
    b = ModelBuilder()
    source = b.activation((1, *size, channels), 0.02, options.pop("input_zero_point", -3))
    out_channels = channels * multiplier
    weights = rng.integers(-127, 128, (1, *kernel, out_channels)).astype(np.int8)
    values = rng.integers(-3000, 3000, out_channels).astype(np.int32) if bias else None
    scales = list(rng.uniform(0.001, 0.02, out_channels))
    options = {"scale": 0.05, "zero_point": 10, **options}
    return b.finish([source], [b.convolution(source, weights, scales, values, depthwise=True, **options)])


def sample() -> bytes:
    """Channels that fill a vector, of rows too short for columns in lanes."""
    return build(channels=16, input_zero_point=-128, zero_point=-128)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="3x3"),
        pytest.param({"padding": "valid"}, id="valid"),
        pytest.param({"stride": (2, 2)}, id="stride"),
        pytest.param({"dilation": (2, 3), "size": (11, 12)}, id="dilation"),
        pytest.param({"multiplier": 3, "channels": 2}, id="depth-multiplier"),
        pytest.param({"multiplier": 8, "channels": 1}, id="one-channel-multiplied"),
        pytest.param({"kernel": (5, 2)}, id="even-window"),
        pytest.param({"activation": "relu6"}, id="relu6"),
        pytest.param({"bias": False}, id="no-bias"),
        pytest.param({"input_zero_point": -128}, id="zero-point-minus-128"),
        pytest.param({"channels": 1, "size": (1, 1)}, id="one-pixel"),
        pytest.param({"input_zero_point": 0}, id="one-multiply"),
        pytest.param({"input_zero_point": 0, "size": (5, 1)}, id="one-multiply-one-column"),
        pytest.param({"input_zero_point": 0, "size": (1, 9)}, id="one-multiply-one-row"),
        pytest.param({"input_zero_point": 0, "activation": "relu6"}, id="one-multiply-clamped"),
    ],
)
def test_exact(options: dict[str, Any], tmp_path: Path) -> None:
    # TFLite's own kernels insist on a bias; TFLM does not.
    assert_exact(build(**options), tmp_path, builtin_ref=options.get("bias", True))


def test_fast_kernel_whatever_padding_is() -> None:
    templates = {compile_bytes(build(input_zero_point=z)).program.stages[0].kernel.template for z in (-128, 0, 5)}
    assert templates == {"portable/depthwise_conv_2d_3x3"}


def test_asymmetric_weights_are_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 2), 0.1, 0)
    weights = np.ones((1, 3, 3, 2), np.int8)
    out = b.convolution(source, weights, [0.1, 0.1], None, scale=1.0, zero_point=0, depthwise=True)
    b.tensors[1]["zeros"] = [0, 3]
    with pytest.raises(UnsupportedError, match="not symmetric"):
        compile_bytes(b.finish([source], [out]))
