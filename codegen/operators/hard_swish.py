"""HARD_SWISH, int8: x * relu6(x + 3) / 6 in 16-bit fixed point. Reference: .../reference/hard_swish.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import quantize_multiplier, rounding_divide_by_pot
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_exponent

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1


def multipliers(graph: Graph, operator: Operator) -> tuple[tuple[int, int], tuple[int, int]]:
    """(int16 multiplier, exponent) from the input, 7 bits finer, to the output's scale and to 1.0 at the real 3."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    fine = np.float32(1.0 / 128.0) * np.float32(source.scale)
    to_output = quantize_multiplier(float(fine / np.float32(output.scale)))
    to_three = quantize_multiplier(float(fine / np.float32(3.0 / 32768.0)))
    return _int16(to_output), _int16(to_three)


def _int16(multiplier: tuple[int, int]) -> tuple[int, int]:
    """From 31 fractional bits to 15, rounded, as DownScaleInt32ToInt16Multiplier."""
    value, exponent = multiplier
    return (INT16_MAX if value >= 2**31 - 2**15 else (value + 2**15) >> 16), exponent


def check(graph: Graph, operator: Operator) -> None:
    """Raise UnsupportedError where TFLM refuses the scales: the output may be at most 128 times finer."""
    (_, to_output), (_, to_three) = multipliers(graph, operator)
    if to_output > 0:
        raise UnsupportedError(f"{operator.label} has an output scale more than 128 times finer than its input's")
    check_exponent(operator, to_output, range(-15, 1))
    check_exponent(operator, to_three, range(-15, 32))


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    (output_multiplier, output_exponent), (three_multiplier, three_exponent) = multipliers(graph, operator)
    fine = _wrapped((np.arange(-128, 128) - source.zero_point) * 128)
    unshifted = _rounding_high_mul(fine, output_multiplier)
    relu = fine
    if three_exponent > 0:
        relu = _saturated(relu << (three_exponent - 1))
    relu = _rounding_high_mul(relu, three_multiplier)
    if three_exponent > 0:
        relu = _saturated(relu << 1)
    elif three_exponent < 0:
        relu = rounding_divide_by_pot(relu, -three_exponent)
    relu = (relu + 2**15) >> 1  # from [-1, 1] to [0, 1]
    product = relu * unshifted
    truncated = np.sign(product) * (np.abs(product) >> 15)
    shifted = rounding_divide_by_pot(truncated, -output_exponent)
    return np.clip(_wrapped(shifted + output.zero_point), -128, 127)


def _rounding_high_mul(a: IntArray, b: int) -> IntArray:
    """gemmlowp's SaturatingRoundingDoublingHighMul on int16: a * b / 2**15, halves away from zero."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.where((a == b) & (a == INT16_MIN), INT16_MAX, np.sign(nudged) * (np.abs(nudged) >> 15))


def _saturated(values: IntArray) -> IntArray:
    return np.clip(values, INT16_MIN, INT16_MAX)


def _wrapped(values: IntArray) -> IntArray:
    """As int16_t holds it."""
    return (values + 2**15) % 2**16 - 2**15


OPERATOR = by_table(table, check)
