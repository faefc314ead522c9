"""Float32 and bool between bytes become tables: equal to TFLM for every byte, in and out of the model."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from codegen.arithmetic import float_functions
from codegen.canonicalize.border import leave
from codegen.canonicalize.canonicalize import canonicalize
from codegen.canonicalize.float_kernels import KERNELS
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import compile_bytes
from tests.ops.single_operator import drawn, drawn_zero_point

SHAPE = (1, 4, 64, 1)
EVERY_BYTE = np.arange(-128, 128, dtype=np.int8).reshape(SHAPE)
Operands = Callable[[ModelBuilder, int], list[int]]


def foreign(b: ModelBuilder, dtype: str = "float32", shape: tuple[int, ...] = SHAPE) -> int:
    return b._tensor(shape, dtype, [], [], 0, None)


def floats(b: ModelBuilder, value: float, shape: tuple[int, ...] = ()) -> int:
    return b.constant(np.full(shape, value, np.float32))


PLAIN = """ABS CEIL COS ELU EXP FLOOR HARD_SWISH LOG LOGISTIC NEG RELU RELU6 ROUND RSQRT SIN SQRT SQUARE TANH"""
UNARY: dict[str, tuple[str | None, dict[str, Any]]] = {
    **dict.fromkeys(PLAIN.split(), (None, {})),
    "LEAKY_RELU": ("LeakyReluOptions", {"Alpha": 0.3}),
}
BINARY: dict[str, str | None] = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), ""),
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "FLOOR_DIV", "FLOOR_MOD", "SQUARED_DIFFERENCE", "PRELU"), None),
}
COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
INEXACT = {"COS", "ELU", "LOG", "SIN", "TANH"}
REFUSED = {*INEXACT, "FLOOR_DIV", "FLOOR_MOD"}


def test_all_kernels_are_tested() -> None:
    others = {"add_n", "cast", "dequantize", "logical_and", "logical_not", "logical_or", "quantize", "select_v2"}
    assert {name.lower() for name in (*UNARY, *BINARY, *COMPARISONS)} | others == KERNELS.keys()


def assert_every_byte_is_tflms(flatbuffer: bytes) -> None:
    graph = compile_bytes(flatbuffer).graph
    outputs = leave(graph, run_oracle(graph, EVERY_BYTE).reshape(1, -1).view(np.uint8))
    truth = np.ascontiguousarray(run_tflm(flatbuffer, EVERY_BYTE)).reshape(1, -1).view(np.uint8)
    np.testing.assert_array_equal(outputs, truth)


def island(name: str, rng: np.random.Generator, *, ends: bool) -> bytes:
    """DEQUANTIZE, the operator, and QUANTIZE unless it `ends` the model."""
    b = ModelBuilder()
    source = b.activation(SHAPE, drawn(rng, 1e-3, 3.0), drawn_zero_point(rng))
    value = b.operator("DEQUANTIZE", [source], foreign(b))
    if name in UNARY:
        table, fields = UNARY[name]
        value = b.operator(name, [value], foreign(b), table, **fields)
    else:
        number = floats(b, float(np.float32(rng.choice([1.7, 0.3, -2.5]))), (1, 1, 1) if name == "PRELU" else ())
        swapped = name != "PRELU" and rng.integers(2)
        fields = {"FusedActivationFunction": int(rng.choice([0, 1, 3]))} if BINARY[name] == "" else {}
        value = b.operator(name, [number, value] if swapped else [value, number], foreign(b), BINARY[name], **fields)
    if ends:
        return b.finish([source], [value])
    output = b.operator("QUANTIZE", [value], b.activation(SHAPE, drawn(rng, 0.01, 0.5), drawn_zero_point(rng)))
    return b.finish([source], [output])


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_islands_of_float(name: str) -> None:
    rng, compared = np.random.default_rng(sum(name.encode())), 0
    for _ in range(5):
        flatbuffer = island(name, rng, ends=False)
        if name in REFUSED and "lookup" not in canonicalize(load_graph(flatbuffer)).stems:
            continue  # some value lies so near to a half that its last bit decides; or TFLM would divide by 0
        compared += 1
        assert_every_byte_is_tflms(flatbuffer)
    assert compared >= 2


@pytest.mark.parametrize("name", [name for name in (*UNARY, *BINARY) if name not in {*INEXACT, "RSQRT"}])
def test_float_outputs(name: str) -> None:
    rng, compared = np.random.default_rng(sum(name.encode())), 0
    for _ in range(6):
        flatbuffer = island(name, rng, ends=True)
        if canonicalize(load_graph(flatbuffer)).conversions:  # else some value is infinite, or no number
            compared += 1
            assert_every_byte_is_tflms(flatbuffer)
    assert compared >= 1


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str) -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.125, -3)
    value = b.operator("DEQUANTIZE", [source], foreign(b))
    compared = b.operator(name, [value, floats(b, 1.5)], foreign(b, "bool"), None)
    below = b.operator("LESS", [value, floats(b, -2.0)], foreign(b, "bool"), None)
    either = b.operator("LOGICAL_OR", [compared, below], foreign(b, "bool"), None)
    neither = b.operator("LOGICAL_NOT", [either], foreign(b, "bool"), None)
    both = b.operator("LOGICAL_AND", [neither, below], foreign(b, "bool"), None)
    chosen = b.operator("SELECT_V2", [either, value, floats(b, 0.5)], foreign(b), None)
    sums = b.operator("ADD_N", [chosen, value, value], foreign(b), None)
    whole = b.operator("CAST", [sums], foreign(b, "int32"), None)
    output = b.operator("QUANTIZE", [sums], b.activation(SHAPE, 0.3, 4))
    assert_every_byte_is_tflms(b.finish([source], [output, sums, whole, either, both]))


@pytest.mark.usefixtures("compiler")
def test_compiled_c() -> None:
    """Tables inside and at every kind of output, with what moves between DEQUANTIZE and the function."""
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 6), 0.05, 3)
    value = b.operator("DEQUANTIZE", [b.quantize(source, 0.04, -9)], foreign(b, shape=(1, 3, 4, 6)))
    parts = [foreign(b, shape=(1, 4, 6)) for _ in range(3)]
    b.operator("UNPACK", [value], parts, Num=3, Axis=1)
    value = b.operator("PACK", [parts[2], parts[0], parts[1]], foreign(b, shape=(1, 3, 4, 6)), ValuesCount=3, Axis=1)
    value = b.operator("RESHAPE", [value, b.constant(np.array([1, 12, 6], np.int32))], foreign(b, shape=(1, 12, 6)))
    order = b.constant(np.array([0, 2, 1], np.int32))
    value = b.operator("TRANSPOSE", [value, order], foreign(b, shape=(1, 6, 12)))
    probability = b.operator("LOGISTIC", [value], foreign(b, shape=(1, 6, 12)), None)
    is_high = b.operator("GREATER", [probability, floats(b, 0.6)], foreign(b, "bool", (1, 6, 12)), None)
    number = b.operator("CAST", [is_high], foreign(b, "int32", (1, 6, 12)), None)
    elu = b.operator("ELU", [value], foreign(b, shape=(1, 6, 12)), None)
    inside = b.operator("QUANTIZE", [elu], b.activation((1, 6, 12), 0.03, -90))
    flatbuffer = b.finish([source], [probability, is_high, number, b.quantize(inside, 0.05, 0)])
    report = verify(QuantizedModel("sample", flatbuffer), [(find_board("host"), 12)])
    assert report.passed, report
    assert sum(one.status == "equal" for one in report.executors) >= 4


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_cast_of_an_input(dtype: str) -> None:
    """Pixels as numbers, scaled in float, as an image model that takes them raw begins."""
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 5), 1.0, -3) if dtype == "int8" else foreign(b, dtype, (1, 3, 4, 5))
    value = b.operator("CAST", [source], foreign(b, shape=(1, 3, 4, 5)), None)
    value = b.operator("MUL", [value, floats(b, 1 / 127.5)], foreign(b, shape=(1, 3, 4, 5)))
    value = b.operator("SUB", [value, floats(b, 1.0)], foreign(b, shape=(1, 3, 4, 5)))
    output = b.operator("QUANTIZE", [value], b.activation((1, 3, 4, 5), 0.0078, 2))
    report = verify(QuantizedModel("sample", b.finish([source], [output])), [(find_board("host"), 12)])
    assert report.passed, report


def test_what_is_no_function_of_one_byte_is_refused_by_name() -> None:
    b = ModelBuilder()
    first, second = (b.quantize(b.activation((1, 7), 0.1, 0), scale, 0) for scale in (0.1, 0.2))
    values = [b.operator("DEQUANTIZE", [one], foreign(b, shape=(1, 7))) for one in (first, second)]
    product = b.operator("DIV", values, foreign(b, shape=(1, 7)))
    output = b.operator("QUANTIZE", [product], b.activation((1, 7), 0.1, -128))
    with pytest.raises(UnsupportedError, match=r"\(float32\) remain in operator 2 \(DEQUANTIZE\), .*\(DIV\)"):
        compile_bytes(b.finish([0, 2], [output]))


def test_a_float_output_of_the_c_library_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.05, 0)
    value = b.operator("DEQUANTIZE", [b.quantize(source, 0.03, 1)], foreign(b))
    output = b.operator("TANH", [value], foreign(b), None)
    with pytest.raises(UnsupportedError, match="output 't3' is float32"):
        compile_bytes(b.finish([source], [output]))


@pytest.mark.parametrize(("name", "count"), [("DEQUANTIZE", 2), ("SQUARE", 2), ("MUL", 1), ("SELECT_V2", 2)])
def test_operands_too_many_or_too_few_are_refused(name: str, count: int) -> None:
    """Found by the soak of damaged files."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.05, 0)
    value = b.operator("DEQUANTIZE", [b.quantize(source, 0.03, 1)], foreign(b))
    given = [1] * count if name == "DEQUANTIZE" else [value] * count
    options = "" if name in ("MUL", "DEQUANTIZE") else None
    result = b.operator(name, given, foreign(b), options)
    output = b.operator("QUANTIZE", [result], b.activation(SHAPE, 0.1, 0))
    with pytest.raises((ModelError, UnsupportedError), match=name):
        compile_bytes(b.finish([source], [output]))


def test_exponential_is_the_c_librarys() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.expf.restype, library.expf.argtypes = ctypes.c_float, [ctypes.c_float]
    values = np.random.default_rng(0).uniform(-105, 89, 20_000).astype(np.float32)
    truth = np.array([library.expf(value) for value in values.tolist()], np.float32)
    # One in a million is another where the library uses fused multiply-adds.
    assert (float_functions.exp(values) != truth).sum() <= 1
