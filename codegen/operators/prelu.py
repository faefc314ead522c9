"""PRELU, int8: a slope for each negative value, with broadcast. Reference: .../reference/prelu.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 values and slopes of shapes that broadcast -> int64 of the values' shape."""
    source, slope, output = (graph.tensor(i) for i in (*operator.inputs, *operator.outputs))
    values, slopes = inputs[0] - source.zero_point, inputs[1] - slope.zero_point
    identity = quantize_multiplier(source.scale / output.scale)
    sloped = quantize_multiplier(source.scale * slope.scale / output.scale)
    positive = multiply_by_quantized_multiplier(values, *identity)
    negative = multiply_by_quantized_multiplier(values * slopes, *sloped)
    outputs: IntArray = np.clip(np.where(values >= 0, positive, negative) + output.zero_point, -128, 127)
    return outputs
