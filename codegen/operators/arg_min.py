"""ARG_MIN of int8: the index of the smallest value, the first of equal ones. Reference: .../reference/arg_min_max.h."""

from __future__ import annotations

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators import arg_max
from codegen.operators.arg_max import MOVES_BYTES, OUTPUT_DTYPES, REQUIRED_INPUTS, VARIABLE_INPUTS, read_options, verify
from codegen.program.program import Lowering, Stage

__all__ = ["MOVES_BYTES", "OUTPUT_DTYPES", "REQUIRED_INPUTS", "VARIABLE_INPUTS", "read_options", "verify"]


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return arg_max.evaluate(graph, operator, (-inputs[0], *inputs[1:]))


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return arg_max.lower_arg_extremum(graph, operator, context, is_maximum=False)
