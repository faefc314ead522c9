"""MINIMUM, int8, of two operands of one quantization. Reference: .../reference/maximum_minimum.h."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators import maximum
from codegen.operators.maximum import read_options, verify
from codegen.program.program import Lowering, Stage

__all__ = ["read_options", "verify"]

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 0
MOVES_BYTES = True


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.minimum(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return maximum.lower_extremum(graph, operator, context, np.minimum)
