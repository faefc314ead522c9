"""RELU, RELU6, LEAKY_RELU, TANH, ELU, HARD_SWISH, ABS, RSQRT: all 256 inputs against TFLM, and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import UnsupportedError
from codegen.lower.lower import lower_graph
from codegen.plan.schedule import demand_order
from codegen.program.target import REGISTERS_32
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import MAX_OPERATORS, load_graph
from codegen.tflite.oracle import run_oracle
from codegen.tflite.verify import verify_graph
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import Activation, drawn, drawn_zero_point, model_of

EVERY_BYTE = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 256, 1)
OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "RELU": ("", {}),
    "RELU6": ("", {}),
    "LEAKY_RELU": ("LeakyReluOptions", {"Alpha": 0.3}),
    "TANH": ("", {}),
    "ELU": ("", {}),
    "HARD_SWISH": ("", {}),
    "ABS": ("", {}),
    "RSQRT": (None, {}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_byte_is_tflms(name: str) -> None:
    rng, (table, fields) = np.random.default_rng(sum(name.encode())), OPERATORS[name]
    for _ in range(12):
        scale = drawn(rng, 1e-4, 7.0)
        source = Activation((1, 1, 256, 1), scale, drawn_zero_point(rng))
        output = Activation((1, 1, 256, 1), scale * drawn(rng, 0.05, 20.0), drawn_zero_point(rng))
        if name == "RSQRT":
            source = Activation((1, 1, 256, 1), scale, -128)
            output = Activation((1, 1, 256, 1), drawn(rng, 0.002, 0.2) / scale**0.5, drawn_zero_point(rng))
        if name == "TANH":
            output = Activation((1, 1, 256, 1), 1 / 128, 0)
        if name == "LEAKY_RELU":
            fields = {"Alpha": float(np.float32(rng.uniform(-1.0, 1.5)))}
        flatbuffer = model_of(name, source, (), output, table or None, **fields)
        graph = compile_bytes(flatbuffer).graph
        np.testing.assert_array_equal(run_oracle(graph, EVERY_BYTE), run_tflm(flatbuffer, EVERY_BYTE))


def test_tables_in_a_row_as_compiled_c(compiler: None, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = value = b.activation((1, 3, 4, 5), 0.05, 3)
    for i, (name, (table, fields)) in enumerate(OPERATORS.items()):
        scale, zero_point = (1 / 128, 0) if name == "TANH" else (0.04, 5 if name == "RSQRT" or i % 2 == 0 else -128)
        if name == "RSQRT":
            value = b.quantize(value, 0.03, -128)
        value = b.operator(name, [value], b.activation((1, 3, 4, 5), scale, zero_point), table or None, **fields)
    assert_exact(b.finish([source], [value]), tmp_path, builtin_ref=False)  # it has no ELU of this version


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("TANH", Activation((1, 4), 0.1, 0), "1/128"),
        ("HARD_SWISH", Activation((1, 4), 1e-5, 0), "128 times finer"),
        ("RSQRT", Activation((1, 4), 0.1, 0), "below 0"),
        ("ABS", Activation((1, 4), 1e-10, 0), "too small"),
    ],
)
def test_what_tflm_refuses_is_refused(name: str, output: Activation, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        compile_bytes(model_of(name, Activation((1, 4), 0.1, 0), (), output))


@pytest.mark.usefixtures("compiler")
def test_more_than_256_operators(tmp_path: Path) -> None:
    """Each with a table of its own, and sums of values that lie far apart."""
    b = ModelBuilder()
    source = value = b.activation((1, 2, 1, 4), 0.05, -20)
    values = []
    for number in range(260):
        values.append(value := b.quantize(value, 0.05 + 0.0001 * (number % 7), -20 + number % 5))
    for other in values[::26]:
        value = b.operator("ADD", [value, other], b.activation((1, 2, 1, 4), 0.09, 3), FusedActivationFunction=0)
    compiled = assert_exact(b.finish([source], [value]), tmp_path)
    assert len(compiled.program.stages) == 270


def test_a_thousand_operators_in_a_row_are_scheduled() -> None:
    """As deep as a file may be; nothing recurses."""
    b = ModelBuilder()
    source = value = b.activation((1, 2), 0.05, -20)
    for number in range(MAX_OPERATORS):
        value = b.quantize(value, 0.05, -20 + number % 5)
    graph = verify_graph(canonicalize(load_graph(b.finish([source], [value]))))
    program = lower_graph(graph, REGISTERS_32)
    assert demand_order(program, ()) == (program.arrival(0), *range(MAX_OPERATORS))
