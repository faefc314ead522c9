"""SUB, int8, with broadcast. Reference: .../reference/sub.h and CalculateOpDataSub in micro/kernels/sub_common.cc."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range

LEFT_SHIFT = 20


def scaled_operands(graph: Graph, operator: Operator) -> tuple[IntArray, IntArray]:
    """int64 (256,) of each operand: what a byte -128 .. 127 is in the common fine scale, before the sum."""
    first, second = (graph.tensor(i) for i in operator.inputs)
    twice_largest = np.float32(2) * max(np.float32(first.scale), np.float32(second.scale))
    a, b = (
        multiply_by_quantized_multiplier(
            (np.arange(-128, 128) - tensor.zero_point) << LEFT_SHIFT,
            *quantize_multiplier(float(np.float32(tensor.scale) / twice_largest)),
        )
        for tensor in (first, second)
    )
    return a, b


def requantized(graph: Graph, operator: Operator, sums: IntArray) -> IntArray:
    """From the common fine scale to the output's int8."""
    first, second, output = (graph.tensor(i) for i in (*operator.inputs, *operator.outputs))
    twice_largest = np.float32(2) * max(np.float32(first.scale), np.float32(second.scale))
    real = float(twice_largest / (np.float32(1 << LEFT_SHIFT) * np.float32(output.scale)))
    scaled = multiply_by_quantized_multiplier(sums, *quantize_multiplier(real))
    return np.clip(scaled + output.zero_point, *activation_range(operator, output))


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs of shapes that broadcast -> int64 of the common shape."""
    first, second = scaled_operands(graph, operator)
    return requantized(graph, operator, first[inputs[0] + 128] - second[inputs[1] + 128])
