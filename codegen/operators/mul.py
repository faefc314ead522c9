"""MUL, int8, with broadcast. Reference: .../reference/integer_ops/mul.h (MulElementwise)."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs of shapes that broadcast -> int64 of the common shape."""
    first, second, output = (graph.tensor(i) for i in (*operator.inputs, *operator.outputs))
    multiplier, shift = quantize_multiplier(first.scale * second.scale / output.scale)
    products = (inputs[0] - first.zero_point) * (inputs[1] - second.zero_point)
    scaled = multiply_by_quantized_multiplier(products, multiplier, shift)
    return np.clip(scaled + output.zero_point, *activation_range(operator, output))
