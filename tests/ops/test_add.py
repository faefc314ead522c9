"""ADD against every interpreter and as compiled C: scales, zero points, activations, and whatever can be broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.compile import Compilation
from codegen.errors import ModelError, UnsupportedError
from codegen.kernels.portable.add import Add
from codegen.tflite.builder import ModelBuilder
from tests.exactness import (
    EMULATED_CORES,
    assert_every_pair_is_exact,
    assert_exact,
    assert_exact_every_way,
    assert_interpreters_agree,
    compile_bytes,
    frames_for,
)

SHAPE = (1, 4, 6, 5)
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}  # of the schema
ACTIVATION_SHAPES = [(1, 4, 6, 5), (1, 1, 6, 5), (1, 4, 1, 5), (1, 4, 6, 1), (1, 1, 1, 5), (1, 4, 1, 1), (1, 1, 1, 1)]
CONSTANT_SHAPES = [*ACTIVATION_SHAPES, (6, 5), (5,), (1,), ()]
HARD_SCALES = (0.15, 0.035, 0.01), (83, 118, -54)  # no factors are exact


def add(b: ModelBuilder, first: int, second: int, scale: float, zero_point: int, activation: str = "none") -> int:
    shape = np.broadcast_shapes(b.tensors[first]["shape"], b.tensors[second]["shape"])
    output = b.activation(shape, scale, zero_point)
    return b.operator("ADD", [first, second], output, FusedActivationFunction=ACTIVATIONS[activation])


def two_rows(
    scales: tuple[float, float, float] = (0.0213, 0.0357, 0.0511),
    zero_points: tuple[int, int, int] = (3, -20, 7),
    activation: str = "none",
    shape: tuple[int, ...] = SHAPE,
) -> bytes:
    """Two activations: noise, and every value of it against many others, by a table of another order."""
    b = ModelBuilder()
    source = b.activation(shape, 0.05, -128)
    first = b.quantize(source, scales[0], zero_points[0])
    pooled = b.max_pool(source, (1, 2), (1, 1), "same")
    second = b.quantize(pooled, scales[1], zero_points[1])
    return b.finish([source], [add(b, first, second, scales[2], zero_points[2], activation)])


def with_constant(shape: tuple[int, ...], *, swapped: bool = False, seed: int = 3, **options: Any) -> bytes:
    values = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8).reshape(shape)
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -7)
    constant = b._tensor(shape, "int8", [0.03], [12], 0, values)
    operands = (constant, source) if swapped else (source, constant)
    return b.finish([source], [add(b, *operands, 0.04, 9, **options)])


def with_activation(shape: tuple[int, ...], *, swapped: bool = False) -> bytes:
    """A smaller activation, made of the first by pooling, is broadcast."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -128)
    window = tuple(whole // part for whole, part in zip(SHAPE[1:3], shape[1:3], strict=True))
    small = b.max_pool(source, window, window)
    if shape[3] == 1:
        weights = np.full((1, 1, 1, SHAPE[3]), 30, np.int8)
        small = b.convolution(small, weights, [0.01], np.array([60], np.int32), scale=0.03, zero_point=40)
    operands = (small, source) if swapped else (source, small)
    return b.finish([source], [add(b, *operands, 0.04, 9)])


def add_kernel(compiled: Compilation) -> Add:
    kernel = compiled.program.stages[-1].kernel
    assert isinstance(kernel, Add)
    return kernel


def random_layer(rng: Random, b: ModelBuilder, values: list[int]) -> int:
    """Add an earlier value of the same size, or a constant of any size that can be broadcast."""
    value = values[-1]
    shape = tuple(b.tensors[value]["shape"])
    scale = math.exp(rng.uniform(math.log(1e-3), math.log(2.0)))
    alike = [other for other in values if tuple(b.tensors[other]["shape"]) == shape]
    if rng.random() < 0.5:
        other = rng.choice(alike)
    else:
        smaller = tuple(rng.choice([1, extent]) for extent in shape[1:])
        numbers = np.random.default_rng(rng.getrandbits(32)).integers(-128, 128, (1, *smaller)).astype(np.int8)
        constant_scale = b.tensors[value]["scales"][0] * math.exp(rng.uniform(-3, 3))
        other = b._tensor((1, *smaller), "int8", [constant_scale], [rng.randint(-128, 127)], 0, numbers)
    operands = [value, other] if rng.random() < 0.5 else [other, value]
    # TFLite's kernel stops where the operands are 2^19 times coarser than the output.
    scale = max(scale, 1e-5 * max(b.tensors[operand]["scales"][0] for operand in operands))
    zero_point = rng.choice([-128, 0, rng.randint(-128, 127)])
    return add(b, operands[0], operands[1], scale, zero_point, rng.choice(list(ACTIVATIONS)))


def sample() -> bytes:
    """Every kernel that ADD has, with rows, constants and tables."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -128)
    small = b.max_pool(source, (4, 6), (4, 6))
    value = add(b, source, small, 0.03, 4)
    channels = b._tensor((5,), "int8", [0.01], [3], 0, np.array([5, -9, 100, 3, 77], np.int8))
    value = add(b, value, channels, 0.03, -128)
    whole = b._tensor(SHAPE, "int8", [0.01], [3], 0, np.arange(120).reshape(SHAPE).astype(np.int8))
    value = add(b, whole, value, 0.03, 0)
    scales, zero_points = HARD_SCALES
    first = b.quantize(value, scales[0], zero_points[0])
    second = b.quantize(source, scales[1], zero_points[1])
    return b.finish([source], [add(b, first, second, scales[2], zero_points[2])])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("scales", "zero_points", "activation"),
    [
        pytest.param((0.0213, 0.0357, 0.0511), (3, -20, 7), "none", id="any"),
        pytest.param((0.0213, 0.0357, 0.0511), (-128, 3, -128), "relu", id="uint8-and-int8"),
        pytest.param((0.05, 0.05, 0.05), (-128, -128, -128), "none", id="equal"),
        pytest.param((0.05, 0.05, 0.1), (5, 9, 0), "none", id="exact-halves"),
        pytest.param((0.05, 0.025, 0.1), (-128, -128, -128), "relu6", id="halves-of-one-sign"),
        pytest.param((0.5, 0.0001, 0.3), (0, 0, 0), "none", id="one-operand-vanishes"),
        pytest.param((0.02, 0.03, 0.0001), (0, 0, 0), "relu_n1_to_1", id="fine-output"),
        pytest.param((1e-4, 2e-4, 3.0), (1, 2, 3), "none", id="coarse-output"),
        pytest.param(*HARD_SCALES, "none", id="tables"),
    ],
)
def test_exact(
    scales: tuple[float, float, float], zero_points: tuple[int, int, int], activation: str, tmp_path: Path
) -> None:
    flatbuffer = two_rows(scales, zero_points, activation)
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames)
    assert_exact_every_way(flatbuffer, tmp_path, frames, truth)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("shape", CONSTANT_SHAPES)
def test_constants_are_broadcast(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert_exact(with_constant(shape, swapped=len(shape) % 2 == 0), tmp_path)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("shape", ACTIVATION_SHAPES[1:])
def test_activations_are_broadcast(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert_exact(with_activation(shape, swapped=shape[3] == 1), tmp_path)


@EMULATED_CORES
@pytest.mark.parametrize("which", ["sample", "halves"])
def test_exact_on_emulated_cores(
    board: str, tools: tuple[str, ...], which: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    for tool in tools:
        require_tool(tool)
    flatbuffer = sample() if which == "sample" else two_rows((0.05, 0.05, 0.1), (5, -128, -128), shape=(1, 16, 16, 8))
    assert_exact(flatbuffer, tmp_path, board=board)


@settings(max_examples=60)
@given(
    st.tuples(*(st.floats(-8.0, 8.0),) * 3),
    st.tuples(*(st.one_of(st.just(-128), st.integers(-128, 127)),) * 3),
    st.sampled_from(sorted(ACTIVATIONS)),
)
def test_every_pair_of_values_is_exact(
    exponents: tuple[float, float, float], zero_points: tuple[int, int, int], activation: str
) -> None:
    """In the interpreters, while the proof compares the kernel with the oracle."""
    first, second, output = (math.exp(exponent) for exponent in exponents)
    b = ModelBuilder()
    source = b.activation((1, 256, 256, 1), first, zero_points[0])
    ramp = np.broadcast_to(np.arange(-128, 128).astype(np.int8), (1, 1, 256)).reshape(1, 1, 256, 1)
    constant = b._tensor(ramp.shape, "int8", [second], [zero_points[1]], 0, np.ascontiguousarray(ramp))
    flatbuffer = b.finish([source], [add(b, source, constant, output, zero_points[2], activation)])
    if 2 * max(first, second) >= 2**20 * output:  # where TFLite's kernel stops
        with pytest.raises(UnsupportedError, match="scale is too small"):
            compile_bytes(flatbuffer)
        return
    assert_every_pair_is_exact(flatbuffer)


def test_each_operand_has_a_storage_of_its_own() -> None:
    kernel = add_kernel(compile_bytes(two_rows(zero_points=(-128, 3, 7))))
    assert [storage.c_type for storage in kernel.inputs] == ["uint8_t", "int8_t"]
    assert kernel.row_type == "void"


def test_how_sums_are_computed() -> None:
    """Factors where they are exact, with a sign correction for exact halves, tables where nothing else is."""
    usual = add_kernel(compile_bytes(two_rows()))
    assert all(usual.factors)
    assert not usual.epilogue.sign_correction
    halves = add_kernel(compile_bytes(two_rows((0.05, 0.05, 0.1), (5, 9, 0))))
    assert halves.epilogue.sign_correction
    tables = add_kernel(compile_bytes(two_rows(*HARD_SCALES)))
    assert tables.epilogue.kind == "two_roundings"
    assert [name for name, _ in tables.tables] == ["shares_0", "shares_1"]


def test_one_byte_alone_is_looked_up() -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -128)
    twice = b.finish([source], [add(b, source, source, 0.05, 0)])
    for flatbuffer in (twice, with_constant(()), with_constant((1,), swapped=True)):
        assert compile_bytes(flatbuffer).program.stages[-1].kernel.name == "lookup"


def test_the_proof_compares_every_pair() -> None:
    compiled = compile_bytes(two_rows())
    stage, kernel = compiled.program.stages[-1], add_kernel(compiled)
    tables = {table.name: table for table in stage.tables}
    assert kernel.differences(tables) == ()
    first, second = kernel.factors
    assert first is not None
    wrong = replace(kernel, factors=(first + first // 200, second))
    (difference,) = wrong.differences(tables)
    assert "of 65536 sums differ from TFLite's" in difference
    assert any("int32" in text for text in replace(kernel, start=2**31 - 1).differences(tables))


def test_shapes_that_do_not_fit_are_an_error() -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, 0)
    b.operator("ADD", [source, source], output := b.activation((1, 4, 6, 4), 0.02, 0))
    with pytest.raises(ModelError, match="takes"):
        compile_bytes(b.finish([source], [output]))


def test_an_output_too_fine_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="scale is too small"):
        compile_bytes(two_rows((30.0, 30.0, 5e-5), (0, 0, 0)))
