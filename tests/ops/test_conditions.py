"""Comparisons, LOGICAL_* and SELECT_V2 of bytes, whatever is broadcast: against TFLM and as compiled C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.load import load_graph
from codegen.tflite.verify import file_problems, graph_problems
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import assert_oracle_is_tflm, drawn, drawn_zero_point, noise

COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
SHAPE = (1, 4, 6, 5)
SHAPES = [(1, 4, 6, 5), (1, 1, 6, 5), (1, 4, 1, 5), (1, 1, 1, 5), (6, 5), (5,), (1,), ()]


def condition(b: ModelBuilder, name: str, operands: list[int], shape: tuple[int, ...] = SHAPE) -> int:
    return b.operator(name, operands, b._tensor(shape, "bool", [], [], 0, None), None)


def chosen(b: ModelBuilder, which: int, first: int, second: int) -> int:
    """SELECT_V2 of two tensors of one quantization."""
    shape = np.broadcast_shapes(*(tuple(b.tensors[i]["shape"]) for i in (which, first, second)))
    tensor = b.tensors[first]
    output = b.activation(shape, tensor["scales"][0], tensor["zeros"][0])
    return b.operator("SELECT_V2", [which, first, second], output, "SelectV2Options")


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_tflms(name: str) -> None:
    rng = np.random.default_rng(sum(name.encode()))
    for shape in SHAPES:
        b = ModelBuilder()
        source = b.activation(SHAPE, drawn(rng, 0.003, 0.9), drawn_zero_point(rng))
        other = noise(b, shape, drawn(rng, 0.003, 0.9), drawn_zero_point(rng), len(shape))
        operands = [source, other] if rng.integers(2) else [other, source]
        result = chosen(b, condition(b, name, operands), source, b.activation((), 0.1, 0))
        b.tensors[-2]["data"] = np.array(drawn_zero_point(rng), np.int8)
        assert_oracle_is_tflm(b.finish([source], [result]))


def everything(zero_point: int) -> bytes:
    """Each comparison with rows and constants; conditions joined, turned, moved, repeated; chosen by them."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, zero_point)
    smaller = b.quantize(b.max_pool(source, (4, 6), (4, 6)), 0.03, 5)
    across = b.quantize(b.max_pool(source, (4, 1), (4, 1)), 0.02, zero_point)
    results = []
    for number, name in enumerate(COMPARISONS):
        one = condition(b, name, [source, smaller])
        two = condition(b, name, [noise(b, SHAPES[number], 0.04, 3, len(SHAPES[number])), source])
        both = condition(b, "LOGICAL_AND" if number % 2 else "LOGICAL_OR", [one, two])
        neither = condition(b, "LOGICAL_NOT", [both])
        results.append(chosen(b, neither, source, [across, source, noise(b, (5,), 0.02, zero_point, 1)][number % 3]))
    row = condition(b, "LESS", [across, across], (1, 1, 6, 5))
    results.append(chosen(b, row, across, source))
    always = b.constant(np.array([True, False, True, True, False]))
    results.append(chosen(b, always, source, across))
    return b.finish([source], [b.concatenate(results)])


def sample() -> bytes:
    return everything(-128)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("zero_point", [-128, 127, 4])
def test_compiled_c(zero_point: int, tmp_path: Path) -> None:
    assert_exact(everything(zero_point), tmp_path)


@pytest.mark.usefixtures("compiler")
def test_conditions_as_outputs_and_as_numbers() -> None:
    b = ModelBuilder()
    source = b.activation((1, 3, 4), 0.05, 3)
    is_high = condition(b, "GREATER", [source, noise(b, (4,), 0.05, 3, 1)], (1, 3, 4))
    number = b.operator("CAST", [is_high], b._tensor((1, 3, 4), "float32", [], [], 0, None), None)
    halved = b.operator(
        "MUL", [number, b.constant(np.array(0.5, np.float32))], b._tensor((1, 3, 4), "float32", [], [], 0, None)
    )
    flatbuffer = b.finish([source], [is_high, halved])
    report = verify(QuantizedModel("sample", flatbuffer), [(find_board("host"), 4)])
    assert report.passed, report


def test_scales_from_1_on_are_refused() -> None:
    """TFLM's process would stop there."""
    b = ModelBuilder()
    source = b.activation((1, 4), 1.5, 0)
    output = chosen(b, condition(b, "LESS", [source, noise(b, (4,), 0.1, 0, 1)], (1, 4)), source, source)
    with pytest.raises(UnsupportedError, match=r"scale 1.5"):
        compile_bytes(b.finish([source], [output]))


def test_shapes_that_do_not_fit_are_an_error() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4), 0.5, 0)
    output = chosen(b, condition(b, "LESS", [source, noise(b, (4,), 0.1, 0, 1)], (1, 4)), source, source)
    b.tensors[output]["shape"] = (1, 5)
    with pytest.raises(ModelError, match="states"):
        compile_bytes(b.finish([source], [output]))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_condition_of_bytes_joined_to_one_of_float_is_refused(swapped: bool) -> None:
    """Whichever comes first; the file itself is right, and no tensor of it is called missing."""
    b, shape = ModelBuilder(), (1, 4)
    sources = [b.activation(shape, 0.5, 0), b.activation(shape, 0.25, 0)]
    reals = [b.operator("DEQUANTIZE", [one], b._tensor(shape, "float32", [], [], 0, None), None) for one in sources]
    joined = [condition(b, "GREATER", sources, shape), condition(b, "LESS", reals, shape)]
    both = b._tensor((2, 4), "bool", [], [], 0, None)
    b.operator("CONCATENATION", joined[::-1] if swapped else joined, both, "ConcatenationOptions", Axis=0)
    graph = load_graph(b.finish(sources, [both]))
    assert not file_problems(graph)
    found = graph_problems(canonicalize(graph))
    assert found
    assert all(isinstance(problem, UnsupportedError) for problem in found)
