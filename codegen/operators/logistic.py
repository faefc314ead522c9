"""LOGISTIC (sigmoid), int8. Reference: .../reference/integer_ops/logistic.h over gemmlowp's fixed-point arithmetic.

The function of one byte is evaluated 256 times here, in the reference's own integer arithmetic, and becomes a table.
Names Q0, Q2, Q4 give the number of integer bits of an int32 fixed-point value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.arithmetic.requantize import (
    INT32_MAX,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import evaluate_lookup, lower_lookup, verify_elementwise
from codegen.program.program import Lowering, Stage

_INPUT_INTEGER_BITS = 4
_ONE_Q0 = INT32_MAX
# exp(-2**k) in Q0 for k = -2 .. 3, gemmlowp's constants.
_EXP_FACTORS = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401))

REQUIRED_INPUTS = 1
VARIABLE_INPUTS = 1
MOVES_BYTES = False


def read_options(table: Any) -> Mapping[str, int]:
    return {}


def verify(graph: Graph, operator: Operator) -> None:
    verify_elementwise(graph, operator)
    output = graph.tensor(operator.outputs[0])
    if output.scale != 1 / 256 or output.zero_point != -128:
        raise UnsupportedError(f"{operator.label} must have output scale 1/256 and zero point -128, as TFLM requires")


def _multiply(a: int, b: int) -> int:
    return int(saturating_rounding_doubling_high_mul(np.array(a), np.array(b)))


def _divide_by_pot(value: int, exponent: int) -> int:
    return int(rounding_divide_by_pot(np.array(value), np.array(exponent)))


def _shift_left(value: int, bits: int) -> int:
    """Saturating multiplication by 2**bits."""
    return max(-(2**31), min(INT32_MAX, value << bits))


def _exp_between_minus_quarter_and_0(a: int) -> int:
    """Q0 -> Q0: Taylor series of exp around -1/8."""
    exp_minus_eighth, one_third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = _multiply(x, x)
    x3, x4 = _multiply(x2, x), _multiply(x2, x2)
    higher = _divide_by_pot(_multiply(_divide_by_pot(x4, 2) + x3, one_third) + x2, 1)
    return exp_minus_eighth + _multiply(exp_minus_eighth, x + higher)


def _exp_of_negative(a: int) -> int:
    """Q4, a <= 0 -> Q0."""
    if a == 0:
        return _ONE_Q0
    fractional_bits = 31 - _INPUT_INTEGER_BITS
    quarter = 1 << (fractional_bits - 2)
    a_mod_quarter = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(_shift_left(a_mod_quarter, _INPUT_INTEGER_BITS))
    remainder = a_mod_quarter - a
    for exponent, factor in _EXP_FACTORS:
        if remainder & (1 << (fractional_bits + exponent)):
            result = _multiply(result, factor)
    return result


def _one_over_one_plus(a: int) -> int:
    """Q0, a in (0, 1) -> Q0: Newton-Raphson division."""
    total = a + _ONE_Q0
    half_denominator = (total + 1) // 2
    x = 1515870810 + _multiply(half_denominator, -1010580540)  # 48/17 and -32/17 in Q2
    for _ in range(3):
        error = (1 << 29) - _multiply(half_denominator, x)
        x += _shift_left(_multiply(x, error), 2)
    return _shift_left(x, 1)


def _logistic_q0(value: int) -> int:
    """Q4 -> Q0."""
    if value == 0:
        return 1 << 30
    positive = _one_over_one_plus(_exp_of_negative(-abs(value)))
    return positive if value > 0 else _ONE_Q0 - positive


def logistic_table(scale: float, zero_point: int) -> IntArray:
    """int64 (256,): outputs, of scale 1/256 and zero point -128, for inputs -128 .. 127 of the given quantization."""
    fractional_bits = 31 - _INPUT_INTEGER_BITS
    multiplier, left_shift = quantize_multiplier(scale * 2.0**fractional_bits)
    radius = math.floor(((1 << _INPUT_INTEGER_BITS) - 1) * 2.0**fractional_bits / 2.0**left_shift)
    table = np.empty(256, np.int64)
    for q in range(-128, 128):
        centred = q - zero_point
        if centred <= -radius or centred >= radius:
            table[q + 128] = -128 if centred <= -radius else 127
            continue
        rescaled = int(multiply_by_quantized_multiplier(np.array(centred), np.array(multiplier), np.array(left_shift)))
        table[q + 128] = max(-128, min(127, _divide_by_pot(_logistic_q0(rescaled), 23) - 128))
    return table


def _table(graph: Graph, operator: Operator) -> IntArray:
    source = graph.tensor(operator.inputs[0])
    return logistic_table(source.scale, source.zero_point)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return evaluate_lookup(_table(graph, operator), inputs[0])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_lookup(graph, operator, _table(graph, operator), context)
