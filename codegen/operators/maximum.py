"""MAXIMUM, int8, of two operands of one quantization. Reference: .../reference/maximum_minimum.h."""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import extremum
from codegen.operators.broadcast import Function, lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, Stage


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    if len({(tensor.scale, tensor.zero_point) for tensor in operands_of(graph, operator)}) != 1:
        raise UnsupportedError(
            f"{operator.label} has operands and output of several quantizations", hint="TFLM compares bytes as they are"
        )


def by_extremum(function: Function) -> Implementation:
    """Make MAXIMUM of np.maximum, or MINIMUM of np.minimum."""

    def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        return function(inputs[0], inputs[1])

    def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
        stored = context.storage[operator.outputs[0]]
        build = partial(extremum.build, stored=stored, is_maximum=function is np.maximum)
        return lower_broadcast(graph, operator, context, function, build)

    return Implementation(verify, evaluate, lower, required_inputs=2, variable_inputs=0, moves_bytes=True)


OPERATOR = by_extremum(np.maximum)
