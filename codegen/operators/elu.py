"""ELU, int8: a table of float32 results. Reference: PopulateLookupTable in micro/kernels/elu.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import evaluate_lookup, lower_lookup, verify_elementwise
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 1
VARIABLE_INPUTS = 1
MOVES_BYTES = False


def read_options(table: Any) -> Mapping[str, int]:
    return {}


def verify(graph: Graph, operator: Operator) -> None:
    verify_elementwise(graph, operator)


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    real = np.float32(source.scale) * (np.arange(-128, 128) - source.zero_point).astype(np.float32)
    # exp in double, rounded once, is the correctly rounded float32 but for ties that no 256 inputs meet.
    exponential = np.exp(np.minimum(real, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
    steps = np.where(real < 0, exponential, real) * (np.float32(1) / np.float32(output.scale))
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    return np.clip(rounded.astype(np.int64) + output.zero_point, -128, 127)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return evaluate_lookup(table(graph, operator), inputs[0])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_lookup(graph, operator, table(graph, operator), context)
