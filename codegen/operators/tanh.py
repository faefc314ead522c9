"""TANH, int8. Reference: .../reference/integer_ops/tanh.h over gemmlowp's fixed-point arithmetic."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic import fixed_point
from codegen.arithmetic.requantize import (
    multiply_by_quantized_multiplier,
    rounding_divide_by_pot,
)
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import SHIFTS_OF_64_BITS, check_exponent

_INTEGER_BITS = 4  # of the scaled input: -16 .. 16


def check(graph: Graph, operator: Operator) -> None:
    output = graph.tensor(operator.outputs[0])
    if output.scale != 1 / 128 or output.zero_point != 0:
        raise UnsupportedError(f"{operator.label} must have output scale 1/128 and zero point 0, as TFLM requires")
    _, shift = fixed_point.input_scaling(graph.tensor(operator.inputs[0]).scale, _INTEGER_BITS)
    check_exponent(operator, shift, SHIFTS_OF_64_BITS)


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs of scale 1/128 and zero point 0, for inputs -128 .. 127."""
    source = graph.tensor(operator.inputs[0])
    multiplier, shift = fixed_point.input_scaling(source.scale, _INTEGER_BITS)
    radius = fixed_point.input_radius(_INTEGER_BITS, shift)
    values = np.arange(-128, 128) - source.zero_point
    inside = np.clip(values, -radius, radius)
    scaled = multiply_by_quantized_multiplier(inside, multiplier, shift)
    outputs = np.clip(rounding_divide_by_pot(fixed_point.tanh(scaled, _INTEGER_BITS), 24), -128, 127)
    return np.where(values <= -radius, -128, np.where(values >= radius, 127, outputs))


OPERATOR = by_table(table, check)
