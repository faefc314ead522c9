"""QUANTIZE, int8 -> int8 with other parameters. Reference: .../reference/requantize.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_scaled


def check(graph: Graph, operator: Operator) -> None:
    _, shift = _scaling(graph, operator)
    check_scaled(operator, 255, shift)


def _scaling(graph: Graph, operator: Operator) -> tuple[int, int]:
    return quantize_multiplier(graph.tensor(operator.inputs[0]).scale / graph.tensor(operator.outputs[0]).scale)


def _table(graph: Graph, operator: Operator) -> IntArray:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift = _scaling(graph, operator)
    values = np.arange(-128, 128, dtype=np.int64) - source.zero_point
    scaled = multiply_by_quantized_multiplier(values, np.array(multiplier), np.array(shift))
    return np.clip(scaled + output.zero_point, -128, 127)


OPERATOR = by_table(_table, check)
