"""Every operator at its corners: zero points -128 and 127, scale ratios far from 1 on both sides, 1x1 maps, single
channels, odd sizes. In the oracle against TFLM, all of them joined in one model also as compiled C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from codegen import operators as ops
from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import CodegenError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from codegen.tflite.verify import verify_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import compile_bytes

ELSEWHERE = {
    "arg_max": "test_arg_max", "arg_min": "test_arg_max", "unidirectional_sequence_lstm": "test_recurrent",
    "svdf": "test_recurrent", "space_to_batch_nd": "test_movement", "batch_to_space_nd": "test_movement",
    "batch_matmul": "test_batch_matmul", "lookup": "test_tabulate", "constant": "test_constants",
    "broadcast_to": "test_movement", "gather_nd": "test_movement", "split_v": "test_split",
}  # fmt: skip


@dataclass(frozen=True)
class Corner:
    """An input, and the quantization of an output that is not the input's."""

    shape: tuple[int, int, int, int]
    scale: float
    zero_point: int
    out_scale: float
    out_zero_point: int


SHAPES = ((1, 1, 1, 1), (1, 1, 1, 5), (1, 5, 7, 1), (1, 7, 3, 3), (1, 2, 2, 8))
QUANTIZATIONS = ((0.05, -128, 0.015, 127), (0.05, 127, 0.2, -128), (0.05, -1, 0.05, 5), (0.9, 0, 0.01, 0))
CORNERS = [Corner(shape, *QUANTIZATIONS[(i + j) % 4]) for i, shape in enumerate(SHAPES) for j in range(2)]

Add = Callable[[ModelBuilder, int, Corner], int]


def ints(b: ModelBuilder, *values: Any) -> int:
    return b.constant(np.array(values, np.int32))


def plain(name: str, options: str | None = None, **fields: Any) -> Add:
    """Of one input, to the output's own quantization."""
    return lambda b, x, c: b.operator(
        name, [x], b.activation(c.shape, c.out_scale, c.out_zero_point), options, **fields
    )


def fixed(name: str, scale: float, zero_point: int, options: str | None = None, **fields: Any) -> Add:
    """Of one input, to the quantization that TFLM requires."""
    return lambda b, x, c: b.operator(name, [x], b.activation(c.shape, scale, zero_point), options, **fields)


def two(name: str, options: str | None = "", *, alike: bool = False, power: int = 1, **fields: Any) -> Add:
    """Of the input and a constant of its channels; `alike`: all of one quantization."""

    def add(b: ModelBuilder, x: int, c: Corner) -> int:
        scale, zero_point = (c.scale, c.zero_point) if alike else (c.scale * 0.7, -c.zero_point - 1)
        values = np.random.default_rng(1).integers(-128, 128, c.shape[3]).astype(np.int8)
        other = b._tensor((c.shape[3],), "int8", [scale], [zero_point], 0, values)
        output = (c.scale, c.zero_point) if alike else ((c.out_scale**power), c.out_zero_point)
        return b.operator(name, [x, other], b.activation(c.shape, *output), options, **fields)

    return add


def quotient(b: ModelBuilder, x: int, c: Corner) -> int:
    """By constants of both signs, to an output as fine as TFLM needs it."""
    zero_point = -c.zero_point - 1
    values = np.random.default_rng(1).integers(-128, 128, c.shape[3])
    values = np.where(values == zero_point, np.where(values < 127, values + 1, values - 1), values).astype(np.int8)
    other = b._tensor((c.shape[3],), "int8", [c.scale * 0.7], [zero_point], 0, values)
    return b.operator("DIV", [x, other], b.activation(c.shape, c.out_scale * 0.03, c.out_zero_point))


def compared(name: str) -> Add:
    def add(b: ModelBuilder, x: int, c: Corner) -> int:
        values = np.random.default_rng(1).integers(-128, 128, c.shape[3]).astype(np.int8)
        other = b._tensor((c.shape[3],), "int8", [c.scale], [c.zero_point], 0, values)
        condition = b.operator(name, [x, other], b._tensor(c.shape, "bool", [], [], 0, None), None)
        output = b.activation(c.shape, c.scale, c.zero_point)
        return b.operator("SELECT_V2", [condition, x, other], output, "SelectV2Options")

    return add


def moved(
    name: str, shape: Callable[[Corner], tuple[int, ...]], inputs: Callable[[ModelBuilder, int, Corner], list[int]],
    options: str | None = "", **fields: Any,
) -> Add:  # fmt: skip
    """Bytes of the input, in its quantization."""
    return lambda b, x, c: b.operator(
        name, inputs(b, x, c), b.activation(shape(c), c.scale, c.zero_point), options, **fields
    )


def alone(b: ModelBuilder, x: int, c: Corner) -> list[int]:
    return [x]


def reduced(name: str, *, own: bool = False) -> Add:
    def add(b: ModelBuilder, x: int, c: Corner) -> int:
        output = (c.scale, c.zero_point) if own else (c.out_scale, c.out_zero_point)
        made = b.activation((1, 1, 1, c.shape[3]), *output)
        return b.operator(name, [x, ints(b, 1, 2)], made, "ReducerOptions", KeepDims=True)

    return add


def weighted(kind: str) -> Add:
    """3x3 windows, or a matrix, of two outputs for each channel."""

    def add(b: ModelBuilder, x: int, c: Corner) -> int:
        rng, channels = np.random.default_rng(3), c.shape[3]
        scales = [float(scale) for scale in rng.uniform(0.001, 0.02, 2 * channels)]
        bias = rng.integers(-3000, 3000, 2 * channels).astype(np.int32)
        shape = {"depthwise": (1, 3, 3, 2 * channels), "dense": (2 * channels, channels)}
        weights = rng.integers(-127, 128, shape.get(kind, (2 * channels, 3, 3, channels))).astype(np.int8)
        if kind in ("depthwise", "convolution"):
            return b.convolution(x, weights, scales, bias, scale=c.out_scale, zero_point=c.out_zero_point,
                                 depthwise=kind == "depthwise", stride=(2, 1))  # fmt: skip
        matrix = b.constant(weights, [0.01] if kind == "dense" else scales)
        if kind == "dense":
            vector = b.reshape(x, (c.shape[1] * c.shape[2], channels))
            made = b.activation((c.shape[1] * c.shape[2], 2 * channels), c.out_scale, c.out_zero_point)
            biases = b.constant(bias, [c.scale * 0.01])
            return b.operator("FULLY_CONNECTED", [vector, matrix, biases], made, "FullyConnectedOptions")
        size = (1, 2 * c.shape[1], 2 * c.shape[2], 2 * channels)
        made = b.activation(size, c.out_scale, c.out_zero_point)
        return b.operator("TRANSPOSE_CONV", [ints(b, *size), matrix, x], made, "TransposeConvOptions",
                          Padding=0, StrideH=2, StrideW=2)  # fmt: skip

    return add


def pooled(name: str) -> Add:
    fields = {"Padding": 0, "StrideH": 2, "StrideW": 1, "FilterHeight": 3, "FilterWidth": 2}
    return moved(name, lambda c: (1, (c.shape[1] + 1) // 2, *c.shape[2:]), alone, "Pool2DOptions", **fields)


def resized(name: str) -> Add:
    return moved(name, lambda c: (1, 2 * c.shape[1] + 1, 3, c.shape[3]),
                 lambda b, x, c: [x, ints(b, 2 * c.shape[1] + 1, 3)], HalfPixelCenters=True)  # fmt: skip


def padded(name: str, *more: Any, **fields: Any) -> Add:
    def inputs(b: ModelBuilder, x: int, c: Corner) -> list[int]:
        fill = [b._tensor((1,), "int8", [c.scale], [c.zero_point], 0, np.array([77], np.int8))] if more else []
        amounts = [0, 0], [0, 0], [0, 0], [0, 0]
        if name != "MIRROR_PAD":
            amounts = [0, 0], [1, 0], [0, 2], [0, 0]
        return [x, ints(b, *amounts), *fill]

    grown = 0 if name == "MIRROR_PAD" else 1
    return moved(name, lambda c: (1, c.shape[1] + grown, c.shape[2] + 2 * grown, c.shape[3]), inputs, **fields)


def first_part(b: ModelBuilder, x: int, c: Corner, name: str) -> int:
    """Of several outputs the first, which is the whole where an axis is 1 long."""
    count = c.shape[3] if name == "UNPACK" else 1
    shape = c.shape[:3] if name == "UNPACK" else c.shape
    made = [b.activation(shape, c.scale, c.zero_point) for _ in range(count)]
    if name == "UNPACK":
        return b.operator(name, [x], made, Num=count, Axis=3)
    return b.operator(name, [ints(b, 3), x], made, NumSplits=1)


OPERATORS: Mapping[str, Add] = {
    **{name: plain(name) for name in ("RELU", "RELU6", "ELU", "HARD_SWISH", "ABS", "QUANTIZE")},
    "LEAKY_RELU": plain("LEAKY_RELU", "LeakyReluOptions", Alpha=-0.3),
    "RSQRT": lambda b, x, c: plain("RSQRT")(b, b.quantize(x, 0.05, -128), c),
    "TANH": fixed("TANH", 1 / 128, 0),
    "LOGISTIC": fixed("LOGISTIC", 1 / 256, -128),
    "SOFTMAX": fixed("SOFTMAX", 1 / 256, -128, "SoftmaxOptions", Beta=1.0),
    "LOG_SOFTMAX": fixed("LOG_SOFTMAX", 16 / 256, 127),
    "L2_NORMALIZATION": fixed("L2_NORMALIZATION", 1 / 128, 0, "L2NormOptions"),
    "ADD": two("ADD"),
    "SUB": two("SUB"),
    "MUL": two("MUL", power=2),
    "DIV": quotient,
    "SQUARED_DIFFERENCE": two("SQUARED_DIFFERENCE", power=2),
    "MAXIMUM": two("MAXIMUM", "MaximumMinimumOptions", alike=True),
    "MINIMUM": two("MINIMUM", "MaximumMinimumOptions", alike=True),
    "PRELU": two("PRELU", None),
    **{name: compared(name) for name in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")},
    "CONV_2D": weighted("convolution"),
    "DEPTHWISE_CONV_2D": weighted("depthwise"),
    "FULLY_CONNECTED": weighted("dense"),
    "TRANSPOSE_CONV": weighted("transposed"),
    "MAX_POOL_2D": pooled("MAX_POOL_2D"),
    "AVERAGE_POOL_2D": pooled("AVERAGE_POOL_2D"),
    "MEAN": reduced("MEAN"),
    "SUM": reduced("SUM"),
    "REDUCE_MAX": reduced("REDUCE_MAX", own=True),
    "REDUCE_MIN": reduced("REDUCE_MIN", own=True),
    "RESIZE_NEAREST_NEIGHBOR": resized("RESIZE_NEAREST_NEIGHBOR"),
    "RESIZE_BILINEAR": resized("RESIZE_BILINEAR"),
    "PAD": padded("PAD"),
    "PADV2": padded("PADV2", 77, options="PadV2Options"),
    "MIRROR_PAD": padded("MIRROR_PAD", Mode=0),
    "RESHAPE": moved("RESHAPE", lambda c: (1, int(np.prod(c.shape))), lambda b, x, c: [x, ints(b, 1, -1)]),
    "SQUEEZE": moved("SQUEEZE", lambda c: tuple(n for n in (*c.shape[:3], 2 * c.shape[3]) if n > 1),
                     lambda b, x, c: [b.concatenate([x, x])]),
    "EXPAND_DIMS": moved("EXPAND_DIMS", lambda c: (1, *c.shape), lambda b, x, c: [x, ints(b, 0)]),
    "TRANSPOSE": moved("TRANSPOSE", lambda c: (1, c.shape[3], c.shape[1], c.shape[2]),
                       lambda b, x, c: [x, ints(b, 0, 3, 1, 2)]),
    "REVERSE_V2": moved("REVERSE_V2", lambda c: c.shape, lambda b, x, c: [x, ints(b, 2)], "ReverseV2Options"),
    "SLICE": moved("SLICE", lambda c: (1, 1, 1, c.shape[3]),
                   lambda b, x, c: [x, ints(b, 0, c.shape[1] - 1, 0, 0), ints(b, 1, 1, 1, -1)]),
    "STRIDED_SLICE": moved("STRIDED_SLICE", lambda c: (1, (c.shape[1] + 1) // 2, *c.shape[2:]),
                           lambda b, x, c: [x, ints(b, 0, 0, 0, 0), ints(b, *c.shape), ints(b, 1, 2, 1, 1)]),
    "SPLIT": lambda b, x, c: first_part(b, x, c, "SPLIT"),
    "UNPACK": lambda b, x, c: first_part(b, x, c, "UNPACK"),
    "PACK": moved("PACK", lambda c: (1, 2, *c.shape[1:]), lambda b, x, c: [x, x], ValuesCount=2, Axis=1),
    "CONCATENATION": moved("CONCATENATION", lambda c: (*c.shape[:3], 2 * c.shape[3]), lambda b, x, c: [x, x], Axis=3),
    "GATHER": moved("GATHER", lambda c: (*c.shape[:3], 2), lambda b, x, c: [x, ints(b, c.shape[3] - 1, 0)], Axis=3),
    "DEPTH_TO_SPACE": lambda b, x, c: b.depth_to_space(b.concatenate([x, x, x, x]), 2),
    "SPACE_TO_DEPTH": lambda b, x, c: b.operator(
        "SPACE_TO_DEPTH", [b.resize_nearest(x, (2 * c.shape[1], 2 * c.shape[2]))],
        b.activation((*c.shape[:3], 4 * c.shape[3]), c.scale, c.zero_point), BlockSize=2),
    "TILE": lambda b, x, c: b.operator("TILE", [x, ints(b, 1, 2, 1, 3)], b.activation(
        (1, 2 * c.shape[1], c.shape[2], 3 * c.shape[3]), c.scale, c.zero_point), None),
}  # fmt: skip
TFLM_LACKS = frozenset({"TILE"})


def test_every_operator_is_here_or_in_a_test_of_its_own() -> None:
    here = {name.lower() for name in OPERATORS} | {"select_v2"}
    assert here | set(ELSEWHERE) == set(ops.IMPLEMENTATIONS)
    assert not here & set(ELSEWHERE)


def cases_of(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(5).integers(-128, 128, (5, *shape[1:])).astype(np.int8)
    values[0], values[1] = -128, 127
    return values


def is_refused(name: str, corner: Corner) -> bool:
    """Where TFLM would stop, or the output's own scale is asked for."""
    b = ModelBuilder()
    x = b.activation(corner.shape, corner.scale, corner.zero_point)
    try:
        verify_graph(canonicalize(load_graph(b.finish([x], [OPERATORS[name](b, x, corner)]))))
    except UnsupportedError as error:
        assert "scale" in str(error), error  # noqa: PT017
        return True
    return False


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in TFLM_LACKS])
def test_oracle_is_tflm(name: str) -> None:
    compared_cases = 0
    for corner in CORNERS:
        if is_refused(name, corner):
            continue
        b = ModelBuilder()
        x = b.activation(corner.shape, corner.scale, corner.zero_point)
        flatbuffer = b.finish([x], [OPERATORS[name](b, x, corner)])
        graph, cases = canonicalize(load_graph(flatbuffer)), cases_of(corner.shape)
        np.testing.assert_array_equal(
            run_oracle(graph, cases).reshape(5, -1), run_tflm(flatbuffer, cases).reshape(5, -1), str(corner)
        )
        compared_cases += 1
    assert compared_cases >= 5


# Of input and output: where TFLM's shifts leave what C defines, in either direction.
EXTREMES = ((1e-12, 1e-3), (3e-9, 3e-9), (1e-3, 1e-11), (1.0, 1e-9), (1e9, 1e9), (1e12, 1.0), (1e12, 1e12))


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in TFLM_LACKS])
def test_extreme_scales_are_refused_or_exact(name: str) -> None:
    """By the compiler, or by TFLM, which looks at the scales of biases."""
    cases = cases_of((1, 2, 3, 3))
    for scale, out_scale in EXTREMES:
        for zero_point, out_zero_point in ((-128, 127), (5, -3)):
            corner, b = Corner((1, 2, 3, 3), scale, zero_point, out_scale, out_zero_point), ModelBuilder()
            x = b.activation(corner.shape, scale, zero_point)
            flatbuffer = b.finish([x], [OPERATORS[name](b, x, corner)])
            try:
                graph, expected = compile_bytes(flatbuffer).graph, run_tflm(flatbuffer, cases)
            except CodegenError:
                continue
            np.testing.assert_array_equal(run_oracle(graph, cases).reshape(5, -1), expected.reshape(5, -1), str(corner))


@pytest.mark.parametrize("name", ["TANH", "LOGISTIC", "HARD_SWISH", "RELU6"])
def test_shifts_that_c_does_not_define_are_refused(name: str) -> None:
    assert is_refused(name, Corner((1, 2, 3, 3), 1e-9, 5, 1e-3, 0))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("corner", [CORNERS[0], CORNERS[5]], ids=str)
def test_compiled_c(corner: Corner) -> None:
    """All that TFLM runs there, in one model."""
    b = ModelBuilder()
    x = b.activation(corner.shape, corner.scale, corner.zero_point)
    source = b.quantize(x, corner.scale * 1.01, corner.zero_point)
    moved_corner = replace(corner, scale=corner.scale * 1.01)
    names = [name for name in OPERATORS if name not in TFLM_LACKS and not is_refused(name, moved_corner)]
    outputs = [OPERATORS[name](b, source, moved_corner) for name in names]
    report = verify(QuantizedModel("sample", b.finish([x], outputs)), [(find_board("host"), 6)])
    assert report.passed, report
