"""RELU, int8, with requantization. Reference: ReluQuantized in micro/kernels/activations.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift = quantize_multiplier(float(np.float32(source.scale) / np.float32(output.scale)))
    scaled = multiply_by_quantized_multiplier(np.arange(-128, 128) - source.zero_point, multiplier, shift)
    return np.clip(scaled + output.zero_point, max(-128, output.zero_point), 127)


OPERATOR = by_table(table)
