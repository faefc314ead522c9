"""SUB, MUL, SQUARED_DIFFERENCE, MAXIMUM, MINIMUM and PRELU against every interpreter, whatever is broadcast."""

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

from codegen.errors import ModelError, UnsupportedError
from codegen.kernels.portable.mul import Mul
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
from tests.ops.single_operator import assert_oracle_is_tflm, drawn, drawn_zero_point, noise

SHAPE = (1, 4, 6, 5)
ARITHMETIC = ("SUB", "MUL")
ORDER = ("MAXIMUM", "MINIMUM")
NAMES = (*ARITHMETIC, *ORDER, "PRELU", "SQUARED_DIFFERENCE")
CONSTANT_SHAPES = [
    *((1, 4, 6, 5), (1, 1, 6, 5), (1, 4, 1, 5), (1, 4, 6, 1), (1, 1, 1, 5), (1, 4, 1, 1)),
    *((1, 1, 6, 1), (6, 5), (6, 1), (5,), (1,), ()),
]
OUTPUT_SCALES = {"MUL": 0.013, "PRELU": 0.016, "SQUARED_DIFFERENCE": 0.004}  # of operands of 0.02 and 0.03
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}  # of the schema


def both(
    b: ModelBuilder, name: str, first: int, second: int, output: tuple[float, int], activation: str = "none"
) -> int:
    """NAME(first, second)."""
    shape = np.broadcast_shapes(b.tensors[first]["shape"], b.tensors[second]["shape"])
    fields = {"FusedActivationFunction": ACTIVATIONS[activation]} if name in ARITHMETIC else {}
    options = {"MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions", "PRELU": None}.get(name, "")
    return b.operator(name, [first, second], b.activation(shape, *output), options, **fields)


def quantizations(name: str, rng: np.random.Generator) -> list[tuple[float, int]]:
    """Of both operands and the output."""
    if name in ORDER:
        return [(drawn(rng, 0.01, 1.0), drawn_zero_point(rng))] * 3
    scales = [drawn(rng, 0.003, 1.0) for _ in range(2)]
    product = scales[0] * (max(1.0, scales[1]) if name == "PRELU" else scales[1])
    output = product * drawn(rng, 0.2, 200) if name == "MUL" else max(scales[0], product) * drawn(rng, 0.2, 5)
    if name == "SQUARED_DIFFERENCE":
        output = max(scales) ** 2 * drawn(rng, 0.2, 200)
    return [(scale, drawn_zero_point(rng)) for scale in (*scales, output)]


def every_broadcast(name: str, zero_point: int = -7) -> bytes:
    """One operator with constants of all shapes and on both sides, smaller activations and itself; joined."""
    b = ModelBuilder()
    scales = (0.02, 0.02, 0.02) if name in ORDER else (0.02, 0.03, OUTPUT_SCALES.get(name, 0.04))
    zeros = (zero_point,) * 3 if name in ORDER else (zero_point, 12, 9)
    source = b.activation(SHAPE, scales[0], zeros[0])
    smaller = []
    for shape in ((1, 1, 6, 5), (1, 4, 1, 5), (1, 1, 1, 5), (1, 2, 2, 5)):
        window = tuple(whole // part for whole, part in zip(SHAPE[1:3], shape[1:3], strict=True))
        smaller.append(b.quantize(b.max_pool(source, window, window), scales[1], zeros[1]))
    weights, bias = np.full((1, 1, 1, 5), 30, np.int8), np.array([60], np.int32)
    smaller[3] = b.convolution(source, weights, [0.01], bias, scale=scales[1], zero_point=zeros[1])
    smaller.append(b.reshape(smaller[2], (5,)))
    smaller.append(b.reshape(smaller[0], (6, 5)))
    others = [noise(b, shape, scales[1], zeros[1], seed) for seed, shape in enumerate(CONSTANT_SHAPES)]
    results = []
    for number, other in enumerate((*others, *smaller, source)):
        operands = (source, other) if number % 2 or name == "PRELU" else (other, source)
        results.append(both(b, name, *operands, (scales[2], zeros[2])))
    parts = [b.concatenate(results[i : i + 10]) for i in range(0, len(results), 10)]  # TFLM takes 10 at most
    return b.finish([source], [b.concatenate(parts)])


def random_layer(rng: Random, b: ModelBuilder, values: list[int]) -> int:
    """An earlier value of the same size, or a constant of any size that can be broadcast."""
    name, value = rng.choice(NAMES), values[-1]
    tensor = b.tensors[value]
    shape, (scale,), (zero,) = tuple(tensor["shape"]), tensor["scales"], tensor["zeros"]
    other_scale = scale * math.exp(rng.uniform(-3, 3))
    quantized = (scale, zero) if name in ORDER else (other_scale, rng.randint(-128, 127))
    alike = [other for other in values if tuple(b.tensors[other]["shape"]) == shape]
    if rng.random() < 0.4:
        other = b.quantize(rng.choice(alike), *quantized)
    else:
        smaller = (1, *(rng.choice([1, extent]) for extent in shape[1:]))
        other = noise(b, smaller, *quantized, seed=rng.getrandbits(32))
    natural = scale * quantized[0] if name == "MUL" else scale * max(1.0, quantized[0])
    natural = max(scale, quantized[0]) ** 2 if name == "SQUARED_DIFFERENCE" else natural
    output = (natural * math.exp(rng.uniform(-2, 5)), rng.choice([-128, 0, rng.randint(-128, 127)]))
    operands = [value, other] if rng.random() < 0.5 or name == "PRELU" else [other, value]
    activation = rng.choice(list(ACTIVATIONS))
    return both(b, name, operands[0], operands[1], quantized if name in ORDER else output, activation)


def sample() -> bytes:
    """Every kernel of these operators, with rows and constants, in one multiplication and in two roundings."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -128)
    value = both(b, "SUB", source, b.max_pool(source, (4, 6), (4, 6)), (0.03, 4))
    value = both(b, "MUL", value, noise(b, (5,), 0.01, 3), (0.01, -128))
    value = both(b, "MUL", noise(b, SHAPE, 0.9, 3), value, (0.00021, 5))
    value = b.quantize(both(b, "SQUARED_DIFFERENCE", value, noise(b, (4, 1, 5), 0.00021, 5), (3e-5, 1)), 0.00021, 5)
    value = both(b, "MAXIMUM", value, noise(b, (4, 1, 1), 0.00021, 5), (0.00021, 5))
    value = both(b, "MINIMUM", noise(b, (6, 5), 0.00021, 5), value, (0.00021, 5))
    return b.finish([source], [both(b, "PRELU", value, noise(b, (1, 1, 5), 0.01, -7), (0.0002, -20))])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_is_tflms(name: str, rank: int) -> None:
    """Any shapes, single channels and 1x1 maps among them, a constant on either side."""
    rng = np.random.default_rng(rank)
    for _ in range(4):
        shape = (1, *(int(n) for n in rng.integers(1, 6, rank - 1)))
        first, second, output = quantizations(name, rng)
        b = ModelBuilder()
        source = b.activation(shape, *first)
        smaller = tuple(int(rng.choice([1, n])) for n in shape)[int(rng.integers(0, rank)) :]
        other = noise(b, smaller, *second, seed=rank)
        if name != "PRELU" and rng.integers(2):
            source = b.activation(shape, *second)
            other = noise(b, smaller, *first, seed=rank)
            result = both(b, name, other, source, output)
        else:
            result = both(b, name, source, other, output)
        assert_oracle_is_tflm(b.finish([source], [result]))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", [*NAMES, "ADD"])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_everything_is_broadcast(name: str, zero_point: int, tmp_path: Path) -> None:
    assert_exact(every_broadcast(name, zero_point), tmp_path)


@pytest.mark.usefixtures("compiler")
def test_a_map_is_weighted_by_channel(tmp_path: Path) -> None:
    """Squeeze-and-excite: the means of channels, scaled to 0..1, times the map."""
    b = ModelBuilder()
    source = b.activation((1, 7, 5, 6), 0.05, -20)
    mean = b.activation((1, 1, 1, 6), 0.05, -20)
    axes = b.constant(np.array([1, 2], np.int32))
    b.operator("MEAN", [source, axes], mean, "ReducerOptions", KeepDims=True)
    flatbuffer = b.finish([source], [both(b, "MUL", source, b.logistic(mean), (0.04, -128))])
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled)
    assert_exact_every_way(flatbuffer, tmp_path, frames, assert_interpreters_agree(compiled, frames, builtin_ref=False))


@pytest.mark.usefixtures("compiler")
def test_batches_and_many_axes(tmp_path: Path) -> None:
    """More axes than an image has; those in front of rows and inside of them are broadcast too."""
    b = ModelBuilder()
    source = b.activation((1, 6, 8), 0.05, -20)
    value = b.reshape(source, (2, 3, 2, 2, 2))
    for seed, shape in enumerate([(2, 1, 2, 2, 2), (3, 1, 2, 1), (2, 1, 1, 2, 1), (2, 1)]):
        value = both(b, "MUL", value, noise(b, shape, 0.02, 3, seed), (0.05, -3))
        value = both(b, "SUB", noise(b, shape, 0.05, 3, seed), value, (0.06, -3))
    assert_exact(b.finish([source], [b.reshape(value, (1, 48))]), tmp_path)


@EMULATED_CORES
def test_exact_on_emulated_cores(
    board: str, tools: tuple[str, ...], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    for tool in tools:
        require_tool(tool)
    assert_exact(sample(), tmp_path, board=board)


SCALES = st.floats(-7.0, 4.0)
ZEROS = st.one_of(st.just(-128), st.just(127), st.integers(-128, 127))


@pytest.mark.parametrize("name", ["SUB", "MUL", "PRELU", "SQUARED_DIFFERENCE"])
@settings(max_examples=30)
@given(
    scales=st.tuples(SCALES, SCALES, SCALES),
    zeros=st.tuples(ZEROS, ZEROS, ZEROS),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
)
def test_every_pair_of_values_is_exact(
    name: str, scales: tuple[float, float, float], zeros: tuple[int, int, int], activation: str
) -> None:
    """In the interpreters, while the proof compares the kernel with the oracle."""
    first, second, output = (math.exp(exponent) for exponent in scales)
    b = ModelBuilder()
    source = b.activation((1, 256, 256, 1), first, zeros[0])
    ramp = np.broadcast_to(np.arange(-128, 128).astype(np.int8), (1, 1, 256)).reshape(1, 1, 256, 1)
    constant = b._tensor(ramp.shape, "int8", [second], [zeros[1]], 0, np.ascontiguousarray(ramp))
    flatbuffer = b.finish([source], [both(b, name, source, constant, (output, zeros[2]), activation)])
    largest = {
        "SUB": 2 * max(first, second) / 2**4,
        "MUL": first * second,
        "PRELU": first * max(second, 2**-8),
        "SQUARED_DIFFERENCE": (2 * max(first, second)) ** 2,
    }[name]
    if largest >= 2**14 * output:  # where TFLite's kernel stops or overflows
        with pytest.raises(UnsupportedError, match="scale is too small"):
            compile_bytes(flatbuffer)
        return
    assert_every_pair_is_exact(flatbuffer)


def test_the_proof_compares_every_product() -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, 3)
    output = both(b, "MUL", source, b.max_pool(source, (4, 6), (4, 6)), (0.003, 1))
    compiled = compile_bytes(b.finish([source], [output]))
    stage = compiled.program.stages[-1]
    kernel = stage.kernel
    assert isinstance(kernel, Mul)
    assert kernel.found is not None
    tables: dict[str, Any] = {table.name: table for table in stage.tables}
    assert kernel.differences(tables) == ()
    wrong = replace(kernel, found=replace(kernel.found, b=kernel.found.b * 2 + 70000))
    assert "products differ from TFLite's" in wrong.differences(tables)[0]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_fit_are_an_error(name: str) -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, 0)
    result = both(b, name, source, source, (0.02, 0))
    b.tensors[result]["shape"] = (1, 4, 6, 4)
    with pytest.raises(ModelError, match="takes"):
        compile_bytes(b.finish([source], [result]))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("zero_point", [-128, 5])
def test_bytes_of_several_quantizations_are_compared_as_they_are(zero_point: int, tmp_path: Path) -> None:
    """TFLM looks at no scale of MAXIMUM and MINIMUM, of RESHAPE and PAD."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -128)
    value = both(b, "MAXIMUM", source, noise(b, (5,), 0.03, 0), (0.05, zero_point))
    value = both(b, "MINIMUM", value, b.quantize(source, 0.07, 3), (0.01, -128))
    flat = b.activation((1, 120), 0.04, zero_point)
    value = b.operator("RESHAPE", [value, b.constant(np.array([1, 120], np.int32))], flat)
    deep = b.reshape(value, (1, 2, 3, 4, 5))
    amounts = b.constant(np.array([[0, 0], [1, 0], [2, 1], [0, 2], [1, 1]], np.int32))
    output = b.operator("PAD", [deep, amounts], b.activation((1, 3, 6, 6, 7), 0.3, 7))
    assert_exact(b.finish([source], [output]), tmp_path)


@pytest.mark.parametrize("name", ["ADD", "MUL"])
@pytest.mark.parametrize("shape", [(1, 3, 1, 6, 1), (1, 3, 5, 1, 3), (1, 1, 5, 1, 1)])
def test_repeated_along_some_axes_of_a_row(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Of five dimensions, three make a row; both operands are computed."""
    b = ModelBuilder()
    source = b.activation((1, 3, 5, 6, 3), 0.1, 7)
    begin, size = b.constant(np.zeros(5, np.int32)), b.constant(np.array(shape, np.int32))
    small = b.operator("SLICE", [source, begin, size], b.activation(shape, 0.1, 7))
    output = b.operator(name, [source, small], b.activation((1, 3, 5, 6, 3), 0.2, -9))
    assert_exact(b.finish([source], [output]), tmp_path, builtin_ref=False)
