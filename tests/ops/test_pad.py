"""PAD and PADV2 against every interpreter and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import assert_oracle_is_tflm, drawn_zero_point

Paddings = list[tuple[int, int]]


def padded(b: ModelBuilder, source: int, paddings: Paddings, fill: int | None = None) -> int:
    """PAD, or PADV2 with a value to fill with."""
    if fill is None:
        return b.pad(source, paddings)
    tensor, amounts = b.tensors[source], np.array(paddings, np.int32)
    shape = tuple(n + int(a.sum()) for n, a in zip(tensor["shape"], amounts, strict=True))
    (scale,), (zero,) = tensor["scales"], tensor["zeros"]
    value = b.constant(np.array([fill], np.int8), [scale], zero_point=zero)
    return b.operator("PADV2", [source, b.constant(amounts), value], b.activation(shape, scale, zero), "PadV2Options")


def padding_model(shape: tuple[int, ...], paddings: Paddings, fill: int | None = None, zero_point: int = 17) -> bytes:
    b = ModelBuilder()
    source = b.activation(shape, 0.05, zero_point)
    return b.finish([source], [padded(b, source, paddings, fill)])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("shape", "paddings"),
    [
        pytest.param((1, 5, 4, 3), [(0, 0), (1, 1), (1, 1), (0, 0)], id="frame"),
        pytest.param((1, 5, 4, 3), [(0, 0), (0, 2), (3, 0), (1, 2)], id="one-sided-and-channels"),
        pytest.param((1, 5, 4, 3), [(0, 0), (0, 0), (0, 0), (0, 0)], id="nothing"),
        pytest.param((1, 1, 1, 1), [(0, 0), (2, 0), (0, 1), (3, 0)], id="one-value"),
        pytest.param((1, 5, 3), [(0, 0), (1, 2), (0, 1)], id="three-dimensions"),
        pytest.param((1, 7), [(0, 0), (2, 3)], id="two-dimensions"),
        pytest.param((1, 2, 3, 2, 2), [(0, 0), (1, 0), (2, 1), (0, 0), (0, 0)], id="five-dimensions"),
        pytest.param((1, 2, 3, 2, 2), [(0, 0), (0, 1), (0, 0), (1, 0), (0, 0)], id="five-dimensions-inner"),
        pytest.param((1, 2, 3, 2, 2), [(0, 0), (1, 0), (0, 1), (1, 2), (2, 1)], id="three-axes-inside-of-a-row"),
    ],
)
@pytest.mark.parametrize("fill", [None, -128, 90])
def test_exact(shape: tuple[int, ...], paddings: Paddings, fill: int | None, tmp_path: Path) -> None:
    assert_exact(padding_model(shape, paddings, fill), tmp_path)


@pytest.mark.usefixtures("compiler")
def test_batches_are_padded(tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 3, 2), 0.05, -128)
    value = padded(b, b.reshape(source, (2, 2, 3, 2)), [(1, 0), (0, 1), (0, 0), (0, 0)], 5)
    assert_exact(b.finish([source], [b.reshape(value, (1, 3, 3, 6))]), tmp_path)


def test_is_tflms() -> None:
    rng = np.random.default_rng(5)
    for _ in range(24):
        rank = int(rng.integers(2, 5))
        shape = (1, *(int(n) for n in rng.integers(1, 5, rank - 1)))
        padded_axes = rng.choice(np.arange(1, rank), size=int(rng.integers(1, min(rank, 3))), replace=False)
        amounts = [
            (int(rng.integers(3)), int(rng.integers(3))) if axis in padded_axes else (0, 0) for axis in range(rank)
        ]
        fill = None if rng.integers(2) else int(rng.integers(-128, 128))
        assert_oracle_is_tflm(padding_model(shape, amounts, fill, drawn_zero_point(rng)), builtin_ref=True)


def test_a_value_of_another_quantization_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 3, 2), 0.05, -128)
    made: Any = padded(b, source, [(0, 0), (1, 1), (0, 0), (0, 0)], 5)
    b.tensors[1]["scales"] = [0.06]
    with pytest.raises(UnsupportedError, match="another quantization"):
        compile_bytes(b.finish([source], [made]))
