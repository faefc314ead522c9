"""LOG_SOFTMAX, int8, over the last axis. Reference: .../reference/log_softmax.h (LogSoftmaxQuantized)."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic import fixed_point
from codegen.arithmetic.requantize import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.softmax import (
    ACCUMULATION_BITS,
    INTEGER_BITS,
    difference_scaling,
    exponentials,
    sums_of_exponentials,
)

_OUTPUT_BITS = 4  # integer bits of the output: scale 16 / 256


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs (..., depth) -> int64 of the same shape."""
    scaling = difference_scaling(graph.tensor(operator.inputs[0]).scale, 1.0)
    differences = inputs[0] - inputs[0].max(-1, keepdims=True)
    sums = sums_of_exponentials(exponentials(scaling), differences)
    log_sums = fixed_point.log(sums, ACCUMULATION_BITS, INTEGER_BITS)
    # Back from Q5 to steps of the input: what would leave the range of Q5 once the logarithm is taken off.
    divisor, shift = quantize_multiplier(2.0 ** (31 - scaling.shift) / scaling.multiplier)
    limits = multiply_by_quantized_multiplier(log_sums - 2**31, divisor, shift)
    least = np.maximum(scaling.least - 1, limits)
    counted = differences > least
    scaled = scaling.scaled(np.where(counted, differences, 0))
    outputs = rounding_divide_by_pot(scaled - log_sums, 31 - INTEGER_BITS - _OUTPUT_BITS) + 127
    return np.where(counted, np.clip(outputs, -128, 127), -128)
