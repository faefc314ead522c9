"""RELU6, int8: a clamp between the input's 0 and 6. Reference: Relu6Prepare in micro/kernels/activations_common.cc."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import round_half_away
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127. TFLM writes the input's steps, whatever the output states."""
    source = graph.tensor(operator.inputs[0])
    six = round_half_away(float(np.float32(6.0) / np.float32(source.scale))) + source.zero_point
    return np.clip(np.arange(-128, 128), source.zero_point, min(127, six))


OPERATOR = by_table(table)
