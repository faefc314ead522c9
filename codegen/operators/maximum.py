"""MAXIMUM, int8, of two operands of one quantization. Reference: .../reference/maximum_minimum.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import extremum
from codegen.operators.broadcast import Function, lower_broadcast, operands_of, verify_broadcast
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 0
MOVES_BYTES = True


def read_options(table: Any) -> Mapping[str, int]:
    return {}


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    if len({(tensor.scale, tensor.zero_point) for tensor in operands_of(graph, operator)}) != 1:
        raise UnsupportedError(
            f"{operator.label} has operands and output of several quantizations", hint="TFLM compares bytes as they are"
        )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.maximum(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_extremum(graph, operator, context, np.maximum)


def lower_extremum(graph: Graph, operator: Operator, context: Lowering, function: Function) -> Stage:
    stored = context.storage[operator.outputs[0]]
    return lower_broadcast(
        graph,
        operator,
        context,
        function,
        lambda operands: extremum.build(operands, stored, is_maximum=function is np.maximum),
    )
