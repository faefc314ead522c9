"""MEAN, SUM and AVERAGE_POOL_2D against TFLM, and as compiled C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import (
    Activation,
    assert_oracle_is_tflm,
    constant,
    drawn,
    drawn_zero_point,
    model_of,
)

REDUCTIONS = [
    ([1, 2], True, (1, 1, 1, 3)),
    ([2, 1], False, (1, 3)),
    ([3], False, (1, 5, 6)),
    ([1], True, (1, 1, 6, 3)),
    ([-1], True, (1, 5, 6, 1)),
    ([0, 1, 2, 3], False, (1,)),
]


@pytest.mark.parametrize("name", ["MEAN", "SUM"])
@pytest.mark.parametrize(("axes", "keep", "shape"), REDUCTIONS)
def test_reductions_are_tflms(name: str, axes: list[int], keep: bool, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(axes))
    for _ in range(4):
        source = Activation((1, 5, 6, 3), drawn(rng, 0.02, 2.0), drawn_zero_point(rng))
        output = Activation(shape, drawn(rng, 0.02, 2.0), drawn_zero_point(rng))
        assert_oracle_is_tflm(model_of(name, source, (constant(axes),), output, "ReducerOptions", KeepDims=keep))


@pytest.mark.parametrize("name", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize(("axes", "keep", "shape"), REDUCTIONS)
def test_largest_and_smallest_are_tflms(name: str, axes: list[int], keep: bool, shape: tuple[int, ...]) -> None:
    source, output = Activation((1, 5, 6, 3), 0.1, -128), Activation(shape, 0.1, -128)
    assert_oracle_is_tflm(model_of(name, source, (constant(axes),), output, "ReducerOptions", KeepDims=keep))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_average_pools_are_tflms(padding: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(12):
        window, stride, zero_point = int(rng.integers(1, 5)), int(rng.integers(1, 4)), drawn_zero_point(rng)
        height, width = (-(-n // stride) if padding == "same" else (n - window) // stride + 1 for n in (7, 6))
        source, output = Activation((1, 7, 6, 3), 0.1, zero_point), Activation((1, height, width, 3), 0.1, zero_point)
        fields = {"StrideH": stride, "StrideW": stride, "FilterHeight": window, "FilterWidth": window}
        fields |= {"Padding": int(padding == "valid"), "FusedActivationFunction": int(rng.choice([0, 1, 3]))}
        assert_oracle_is_tflm(model_of("AVERAGE_POOL_2D", source, (), output, "Pool2DOptions", **fields))


def sample(zero_point: int = -128) -> bytes:
    """Windows that hang over and such that do not; of rows one by one, and of the whole."""
    b = ModelBuilder()
    source = b.activation((1, 9, 8, 3), 0.1, 3)
    value = b.quantize(source, 0.1, zero_point)
    for height, width, padding, activation in ((5, 4, 0, 0), (2, 2, 1, 1)):
        pooled = b.activation((1, height, width, 3), 0.1, zero_point)
        fields = {"StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 2}
        fields |= {"Padding": padding, "FusedActivationFunction": activation}
        value = b.operator("AVERAGE_POOL_2D", [value], pooled, "Pool2DOptions", **fields)
    for name, shape, axis in (("REDUCE_MAX", (1, 2, 1, 3), 2), ("REDUCE_MIN", (1, 2, 3), 2)):
        reduced = b.activation(shape, 0.1, zero_point)
        value = b.operator(
            name, [value, b.constant(constant([axis]))], reduced, "ReducerOptions", KeepDims=shape[2] == 1
        )
    value = b.reshape(value, (1, 2, 1, 3))
    rows, total = b.activation((1, 2, 1, 3), 0.07, -5), b.activation((1, 3), 0.3, zero_point)
    axes = b.constant(constant([2])), b.constant(constant([1, 2]))
    value = b.operator("MEAN", [value, axes[0]], rows, "ReducerOptions", KeepDims=True)
    value = b.operator("SUM", [value, axes[1]], total, "ReducerOptions", KeepDims=False)
    return b.finish([source], [value])


@pytest.mark.parametrize("zero_point", [-128, 3])
def test_pooled_and_reduced_as_compiled_c(zero_point: int, compiler: None, tmp_path: Path) -> None:
    assert_exact(sample(zero_point), tmp_path, builtin_ref=False)


def test_an_axis_that_is_not_there_is_refused() -> None:
    flatbuffer = model_of("MEAN", Activation((1, 5, 6, 3)), (constant([4]),), Activation((1, 3)), "ReducerOptions")
    with pytest.raises(ModelError, match="reduces axes"):
        compile_bytes(flatbuffer)


@pytest.mark.parametrize("name", ["MEAN", "REDUCE_MAX"])
@pytest.mark.parametrize("axes", [[1, 2, 4], [3], [1, 3]])
def test_of_five_axes(name: str, axes: list[int]) -> None:
    """Group normalization takes means of them."""
    shape = tuple(1 if axis in axes else size for axis, size in enumerate((1, 3, 4, 2, 3)))
    output = Activation(shape, 0.1, 7) if name == "REDUCE_MAX" else Activation(shape, 0.03, -9)
    source = Activation((1, 3, 4, 2, 3), 0.1, 7)
    assert_oracle_is_tflm(model_of(name, source, [np.array(axes, np.int32)], output, "ReducerOptions", KeepDims=True))


def test_of_more_axes_is_refused() -> None:
    source, output = Activation((1, 1, 3, 4, 2, 3), 0.1, 7), Activation((1, 1, 1, 4, 2, 3), 0.1, 7)
    with pytest.raises(UnsupportedError, match="at most 5 axes"):
        compile_bytes(model_of("MEAN", source, [np.array([2], np.int32)], output, "ReducerOptions", KeepDims=True))


@pytest.mark.usefixtures("compiler")
def test_one_number_without_a_shape() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 3)
    total = b.activation((), 0.2, -9)
    b.operator("SUM", [source, b.constant(np.array([0, 1], np.int32))], total, "ReducerOptions")
    wide = b.operator("ADD", [source, total], b.activation((1, 4), 0.3, 0), FusedActivationFunction=0)
    real = b.operator("DEQUANTIZE", [total], b._tensor((), "float32", [], [], 0, None))
    report = verify(QuantizedModel("sample", b.finish([source], [wide, real])), [(find_board("host"), 4)])
    assert report.passed, report
