"""LOGISTIC (sigmoid), int8. Reference: .../reference/integer_ops/logistic.h over gemmlowp's fixed-point arithmetic.

The function of one byte is evaluated 256 times here, in the reference's own integer arithmetic, and becomes a table.
"""

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

_INPUT_INTEGER_BITS = 4


def check(graph: Graph, operator: Operator) -> None:
    output = graph.tensor(operator.outputs[0])
    if output.scale != 1 / 256 or output.zero_point != -128:
        raise UnsupportedError(f"{operator.label} must have output scale 1/256 and zero point -128, as TFLM requires")
    _, shift = fixed_point.input_scaling(graph.tensor(operator.inputs[0]).scale, _INPUT_INTEGER_BITS)
    check_exponent(operator, shift, SHIFTS_OF_64_BITS)


def logistic_table(scale: float, zero_point: int) -> IntArray:
    """int64 (256,): outputs, of scale 1/256 and zero point -128, for inputs -128 .. 127 of the given quantization."""
    multiplier, shift = fixed_point.input_scaling(scale, _INPUT_INTEGER_BITS)
    radius = fixed_point.input_radius(_INPUT_INTEGER_BITS, shift)
    values = np.arange(-128, 128) - zero_point
    inside = (values > -radius) & (values < radius)
    scaled = multiply_by_quantized_multiplier(np.where(inside, values, 0), multiplier, shift)
    shares = rounding_divide_by_pot(fixed_point.logistic(scaled, _INPUT_INTEGER_BITS), 23)
    return np.where(inside, np.clip(shares - 128, -128, 127), np.where(values > 0, 127, -128))


def _table(graph: Graph, operator: Operator) -> IntArray:
    source = graph.tensor(operator.inputs[0])
    return logistic_table(source.scale, source.zero_point)


OPERATOR = by_table(_table, check)
