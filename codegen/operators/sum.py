"""SUM, int8, over any axes. Reference: QuantizedMeanOrSum in tensorflow/lite/kernels/internal/reference/reduce.h."""

from __future__ import annotations

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.mean import (
    MOVES_BYTES,
    REQUIRED_INPUTS,
    VARIABLE_INPUTS,
    lower_reduction,
    read_options,
    reduce,
    verify_reduction,
)
from codegen.program.program import Lowering, Stage

__all__ = ["MOVES_BYTES", "REQUIRED_INPUTS", "VARIABLE_INPUTS", "evaluate", "lower", "read_options", "verify"]


def verify(graph: Graph, operator: Operator) -> None:
    verify_reduction(graph, operator, mean=False)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return reduce(graph, operator, inputs[0], mean=False)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_reduction(graph, operator, context, mean=False)
