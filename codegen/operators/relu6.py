"""RELU6, int8: a clamp between the input's 0 and 6. Reference: Relu6Prepare in micro/kernels/activations_common.cc."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX, round_half_away
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import scale_error


def check(graph: Graph, operator: Operator) -> None:
    if _six(graph, operator) + 255 > INT32_MAX:
        raise scale_error(operator, "limit of 6")


def _six(graph: Graph, operator: Operator) -> int:
    """In steps of the input."""
    scale = np.float32(graph.tensor(operator.inputs[0]).scale)
    return round_half_away(float(np.float32(6.0) / scale))


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127. TFLM writes the input's steps, whatever the output states."""
    source = graph.tensor(operator.inputs[0])
    six = _six(graph, operator) + source.zero_point
    return np.clip(np.arange(-128, 128), source.zero_point, min(127, six))


OPERATOR = by_table(table, check)
