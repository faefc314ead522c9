"""Models of one operator, or of a chain of them, from the schema's names; for tests over many parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_interpreters_agree, compile_bytes, frames_for

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Activation:
    """An int8 tensor."""

    shape: tuple[int, ...]
    scale: float = 0.1
    zero_point: int = 7


def constant(*values: Any) -> npt.NDArray[np.int32]:
    return np.array(values[0] if len(values) == 1 else values, np.int32)


def model_of(
    name: str,
    source: Activation,
    constants: Sequence[Any],
    output: Activation,
    table: str = "",
    *,
    first: bool = True,
    **fields: Any,
) -> bytes:
    """NAME(source, constants) -> output; the source comes last unless it is `first`.

    A constant is an array, (array, scales) or (array, scales, zero point); None is an absent input.
    """
    b = ModelBuilder()
    activation = b.activation(source.shape, source.scale, source.zero_point)
    others = [_constant(b, one) for one in constants]
    inputs = [activation, *others] if first else [*others, activation]
    result = b.activation(output.shape, output.scale, output.zero_point)
    b.operator(name, inputs, result, table or None, **fields)
    return b.finish([activation], [result])


def _constant(b: ModelBuilder, given: Any) -> int:
    if given is None:
        return -1
    if not isinstance(given, tuple):
        return b.constant(given)
    values, scales, *zero_point = given
    return b.constant(values, scales, zero_point=zero_point[0] if zero_point else 0)


def noise(b: ModelBuilder, shape: tuple[int, ...], scale: float, zero_point: int, seed: int = 3) -> int:
    """A constant of random bytes."""
    values = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8).reshape(shape)
    return b._tensor(shape, "int8", [scale], [zero_point], 0, values)


def assert_oracle_is_tflm(flatbuffer: bytes, *, builtin_ref: bool = False) -> None:
    """Both extremes and noise; nothing is compiled to C."""
    compiled = compile_bytes(flatbuffer)
    assert_interpreters_agree(compiled, frames_for(compiled), builtin_ref=builtin_ref)


def drawn(rng: np.random.Generator, low: float, high: float) -> float:
    """A scale, evenly by its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def drawn_zero_point(rng: np.random.Generator) -> int:
    """Corners as often as anything between."""
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))
