"""ARG_MAX and ARG_MIN as a model's last operator: indices of int32 at the border, against TFLM and as compiled C."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.canonicalize.border import leave
from codegen.errors import ModelError
from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.tflite import interpreters
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.oracle import run_oracle
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.verify import verify
from tests.exactness import compile_bytes, frames_for


def arg_model(name: str, shape: tuple[int, ...], axis: int, dtype: str = "int32", zero_point: int = 7) -> bytes:
    b = ModelBuilder()
    source = b.activation(shape, 0.1, zero_point)
    value = b.operator("RELU", [source], b.activation(shape, 0.1, zero_point), None)
    rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    output = b._tensor(rest, dtype, [], [], 0, None)
    code = {"int32": 2, "int64": 4}[dtype]  # of the schema
    table = {"ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions"}[name]
    b.operator(name, [value, b.constant(np.array(axis, np.int32))], output, table, OutputType=code)
    return b.finish([source], [output])


def sample() -> bytes:
    return arg_model("ARG_MAX", (1, 3, 4, 5), 3)


def file_bytes(graph: Graph, outputs: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return leave(graph, np.ascontiguousarray(outputs).reshape(len(outputs), -1).view(np.uint8))


CASES = [
    ("ARG_MAX", (1, 10), 1),
    ("ARG_MAX", (1, 10), -1),
    ("ARG_MIN", (1, 1), 1),
    ("ARG_MAX", (1, 3, 4, 5), 3),
    ("ARG_MIN", (1, 3, 4, 5), 2),
    ("ARG_MAX", (1, 3, 4, 5), 1),
    ("ARG_MAX", (1, 6, 5), 1),
    ("ARG_MIN", (1, 2, 3, 2, 4), 3),
    ("ARG_MAX", (1, 300, 2), 1),
]


@pytest.mark.parametrize(("name", "shape", "axis"), CASES)
def test_is_tflms(name: str, shape: tuple[int, ...], axis: int) -> None:
    for zero_point in (-128, 127):
        flatbuffer = arg_model(name, shape, axis, zero_point=zero_point)
        compiled = compile_bytes(flatbuffer)
        frames = frames_for(compiled, count=6)
        truth = interpreters.run_tflm(flatbuffer, frames)
        np.testing.assert_array_equal(file_bytes(compiled.graph, run_oracle(compiled.graph, frames)), truth)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("name", "shape", "axis"), CASES[3:8])
def test_exact(name: str, shape: tuple[int, ...], axis: int) -> None:
    """C and the conversion at its border, sanitized too, and every interpreter."""
    report = verify(QuantizedModel("sample", arg_model(name, shape, axis)), [(find_board("host"), 8)])
    assert report.passed, report


def test_indices_of_int64_are_builtin_refs() -> None:
    """TFLM has none."""
    if not interpreters.builtin_ref_available():
        pytest.skip("without TensorFlow")
    flatbuffer = arg_model("ARG_MAX", (1, 3, 4, 5), 3, "int64")
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled)
    found = file_bytes(compiled.graph, run_oracle(compiled.graph, frames))
    np.testing.assert_array_equal(found, interpreters.run_builtin_ref(flatbuffer, frames))


def test_an_axis_that_is_not_there_is_an_error() -> None:
    """Before an interpreter sees it."""
    with pytest.raises(ModelError, match="axis 4"):
        interpreters.run_tflm(arg_model("ARG_MAX", (1, 3, 4, 5), 4), np.zeros((1, 3, 4, 5), np.int8))
