"""Constants where operators take activations: joined with one, multiplied by one, and as outputs of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_exact
from tests.ops.single_operator import noise

pytestmark = pytest.mark.usefixtures("compiler")


def sample() -> bytes:
    """Rows that differ, rows that are alike, and a vector."""
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 2), 0.05, -128)
    alike = b._tensor((1, 3, 4, 1), "int8", [0.05], [-128], 0, np.full((1, 3, 4, 1), 9, np.int8))
    joined = b.concatenate([noise(b, (1, 3, 4, 2), 0.05, -128, 4), source, alike])
    flat = b.reshape(joined, (1, 60))
    return b.finish([source], [b.concatenate([flat, noise(b, (1, 7), 0.05, -128, 2)], axis=1)])


@pytest.mark.parametrize("zero_point", [-128, 127, 0])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_joined_along_any_axis(axis: int, zero_point: int, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 2), 0.05, zero_point)
    value = b.operator("RELU", [source], b.activation((1, 3, 4, 2), 0.05, zero_point), None)
    output = b.concatenate([value, noise(b, (1, 3, 4, 2), 0.05, zero_point, 4), source], axis)
    assert_exact(b.finish([source], [output]), tmp_path)


def test_rows_and_vectors(tmp_path: Path) -> None:
    assert_exact(sample(), tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "float32", "int32"])
def test_outputs(dtype: str) -> None:
    b = ModelBuilder()
    source = b.activation((1, 5), 0.05, 3)
    values = np.array([[3, -7, 100]], dtype)
    constant = b._tensor((1, 3), dtype, [0.1] if dtype == "int8" else [], [0] if dtype == "int8" else [], 0, values)
    flatbuffer = b.finish([source], [b.quantize(source, 0.04, -9), constant])
    report = verify(QuantizedModel("sample", flatbuffer), [(find_board("host"), 4)])
    assert report.passed, report


def zero_state(b: ModelBuilder, shape: tuple[int, ...]) -> int:
    """Write a recurrent layer's first state as Keras does where the batch was left open: FILL, here with -5."""
    value = b._tensor((), "int8", [0.02], [-5], 0, np.array(-5, np.int8))
    dimensions = b.constant(np.array(shape, np.int32))
    return b.operator("FILL", [dimensions, value], b.activation(shape, 0.02, -5), None)


def dense(b: ModelBuilder, source: int, seed: int) -> int:
    weights = b._tensor(
        (4, 6), "int8", [0.01], [0], 0, np.random.default_rng(seed).integers(-127, 128, (4, 6), np.int8)
    )
    return b.operator("FULLY_CONNECTED", [source, weights, -1], b.activation((1, 4), 0.03, 7), "FullyConnectedOptions")


@pytest.mark.parametrize("filled", [False, True])
def test_a_recurrent_layers_first_state(filled: bool, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6), 0.05, 3)
    state = zero_state(b, (1, 6)) if filled else noise(b, (1, 6), 0.02, -5, 8)
    fresh, kept = dense(b, source, 1), dense(b, state, 2)
    total = b.operator("ADD", [fresh, kept], b.activation((1, 4), 0.05, -3))
    assert_exact(b.finish([source], [total]), tmp_path)


def test_sums_and_windows_of_constants(tmp_path: Path) -> None:
    b, shape = ModelBuilder(), (1, 4, 4, 3)
    source = b.activation(shape, 0.05, 3)
    both = b.operator("ADD", [noise(b, shape, 0.05, 3, 5), noise(b, shape, 0.04, 1, 6)], b.activation(shape, 0.06, -9))
    weights = np.random.default_rng(3).integers(-127, 128, (2, 3, 3, 3), np.int8)
    seen = b.convolution(
        noise(b, shape, 0.05, 3, 7), weights, [0.01, 0.02], np.arange(2, dtype=np.int32), scale=0.1, zero_point=4
    )
    total = b.operator("ADD", [source, both], b.activation(shape, 0.07, 2))
    assert_exact(b.finish([source], [b.concatenate([total, b.quantize(seen, 0.07, 2)])]), tmp_path)
