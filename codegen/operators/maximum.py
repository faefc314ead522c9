"""MAXIMUM of bytes as they are, whatever quantizations are stated. Reference: .../reference/maximum_minimum.h."""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import extremum
from codegen.operators.broadcast import Function, lower_broadcast, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, Stage


def by_extremum(function: Function) -> Implementation:
    """Make MAXIMUM of np.maximum, or MINIMUM of np.minimum."""

    def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        return function(inputs[0], inputs[1])

    def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
        stored = context.storage[operator.outputs[0]]
        build = partial(extremum.build, stored=stored, is_maximum=function is np.maximum)
        return lower_broadcast(graph, operator, context, function, build)

    return Implementation(verify_broadcast, evaluate, lower, required_inputs=2, variable_inputs=0, moves_bytes=True)


OPERATOR = by_extremum(np.maximum)
