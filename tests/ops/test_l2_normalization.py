"""L2_NORMALIZATION against TFLM and as compiled C: any depth, all zeros, the largest sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.arithmetic.inverse_sqrt import inverse_sqrt_multipliers
from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import Activation, assert_oracle_is_tflm, model_of

UNIT = (1 / 128, 0)


def normalized(shape: tuple[int, ...], zero_point: int) -> bytes:
    return model_of(
        "L2_NORMALIZATION", Activation(shape, 0.1, zero_point), (), Activation(shape, *UNIT), "L2NormOptions"
    )


@pytest.mark.parametrize("zero_point", [-128, 127, 0, 7])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 300), (1, 3, 7), (1, 5, 4, 3), (1, 33000)])
def test_is_tflms(shape: tuple[int, ...], zero_point: int) -> None:
    assert_oracle_is_tflm(normalized(shape, zero_point))


def sample() -> bytes:
    b = ModelBuilder()
    source = b.activation((1, 5, 4, 3), 0.02, -128)
    value = b.quantize(source, 0.02, -128)
    value = b.operator("L2_NORMALIZATION", [value], b.activation((1, 5, 4, 3), *UNIT), "L2NormOptions")
    output = b.activation((1, 60), *UNIT)
    return b.finish([source], [b.operator("L2_NORMALIZATION", [b.reshape(value, (1, 60))], output, "L2NormOptions")])


@pytest.mark.usefixtures("compiler")
def test_compiled_c(tmp_path: Path) -> None:
    assert_exact(sample(), tmp_path)


@pytest.mark.usefixtures("compiler")
def test_of_many_lengths(tmp_path: Path) -> None:
    """Squares of one value each, of any size."""
    assert_exact(normalized((1, 16, 16, 1), 0), tmp_path)


def test_inverse_roots_are_near() -> None:
    values = np.array([2, 3, 255, 65025, 2**20 + 1, 2**29 - 1, 2**29, 2**31 - 1])
    multipliers, shifts = inverse_sqrt_multipliers(values)
    assert multipliers * 2.0 ** (shifts - 31) == pytest.approx(values**-0.5, rel=3e-6)


@pytest.mark.parametrize(
    ("output", "activation", "message"), [((0.1, 0), 0, "1/128"), ((1 / 128, 1), 0, "1/128"), (UNIT, 1, "fuses")]
)
def test_what_tflm_refuses_is_refused(output: tuple[float, int], activation: int, message: str) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 0)
    made = b.operator(
        "L2_NORMALIZATION", [source], b.activation((1, 4), *output), "L2NormOptions", FusedActivationFunction=activation
    )
    with pytest.raises(UnsupportedError, match=message):
        compile_bytes(b.finish([source], [made]))
