"""RELU, int8, with requantization. Reference: ReluQuantized in micro/kernels/activations.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_scaled


def check(graph: Graph, operator: Operator) -> None:
    check_scaled(operator, 255, _scaling(graph, operator)[1])


def _scaling(graph: Graph, operator: Operator) -> tuple[int, int]:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    return quantize_multiplier(float(np.float32(source.scale) / np.float32(output.scale)))


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    scaled = multiply_by_quantized_multiplier(np.arange(-128, 128) - source.zero_point, *_scaling(graph, operator))
    return np.clip(scaled + output.zero_point, max(-128, output.zero_point), 127)


OPERATOR = by_table(table, check)
