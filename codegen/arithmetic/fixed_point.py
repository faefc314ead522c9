"""Compute exp, log, tanh, logistic and reciprocals in 32-bit fixed point, exactly as gemmlowp and TFLM do.

All functions take and give int64 arrays that hold int32 values; a name Qn has n integer bits and 31 - n fractional
ones. Sources: gemmlowp fixedpoint/fixedpoint.h; tensorflow/lite/kernels/internal/common.h for log and the reciprocal.
"""

from __future__ import annotations

import math

import numpy as np

from codegen.arithmetic.requantize import (
    INT32_MAX,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from codegen.graph.graph import IntArray

INT32_MIN = -(2**31)
# exp(-2**k) in Q0 for k = -2 .. 4, gemmlowp's constants.
_EXP_FACTORS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def input_scaling(scale: float, integer_bits: int) -> tuple[int, int]:
    """(multiplier, shift) from steps of `scale`, a float32, to Q`integer_bits`.

    By std::frexp, as logistic_common.cc and tanh.cc of tensorflow/lite/micro/kernels have it: unlike
    `quantize_multiplier`, tiny scales keep their shift. float32 has 24 bits, so the multiplier is exact.
    """
    fraction, shift = math.frexp(scale * 2.0 ** (31 - integer_bits))
    return int(fraction * 2**31), shift


def input_radius(integer_bits: int, shift: int) -> int:
    """Count the steps that a scaling by 2**`shift` takes to the end of Q`integer_bits`.

    CalculateInputRadius in tensorflow/lite/kernels/internal/quantization_util.cc.
    """
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift)


def multiply(a: IntArray | int, b: IntArray | int) -> IntArray:
    """Product of two values in Qm and Qn, in Q(m+n): the rounded high half of twice the product."""
    return saturating_rounding_doubling_high_mul(np.asarray(a, np.int64), np.asarray(b, np.int64))


def shift_left(value: IntArray, bits: IntArray | int) -> IntArray:
    """Saturating multiplication by 2**bits, bits >= 0."""
    shifted: IntArray = np.clip(np.asarray(value, np.int64) << bits, INT32_MIN, INT32_MAX)
    return shifted


def exp_of_negative(a: IntArray, integer_bits: int) -> IntArray:
    """exp(a) in Q0 for a <= 0 in Q`integer_bits`, at most 5."""
    fractional_bits = 31 - integer_bits
    quarter = np.int64(1) << (fractional_bits - 2)
    a_mod_quarter = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(shift_left(a_mod_quarter, integer_bits))
    remainder = a_mod_quarter - a
    for exponent, factor in _EXP_FACTORS:
        if integer_bits > exponent:
            bit = np.int64(1) << (fractional_bits + exponent)
            result = np.where(remainder & bit, multiply(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_between_minus_quarter_and_0(a: IntArray) -> IntArray:
    """Q0 -> Q0: Taylor series of exp around -1/8."""
    exp_minus_eighth, one_third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = multiply(x, x)
    x3, x4 = multiply(x2, x), multiply(x2, x2)
    higher = rounding_divide_by_pot(multiply(rounding_divide_by_pot(x4, 2) + x3, one_third) + x2, 1)
    return exp_minus_eighth + multiply(exp_minus_eighth, x + higher)


def half_sum(a: IntArray, b: IntArray | int) -> IntArray:
    """Compute (a + b) / 2, halves away from zero."""
    total = np.asarray(a, np.int64) + b
    halved: IntArray = np.sign(total) * ((np.abs(total) + 1) // 2)
    return halved


def one_over_one_plus(a: IntArray) -> IntArray:
    """1 / (1 + a) in Q0 for a in [0, 1) in Q0, by Newton's method."""
    half_denominator = half_sum(a, INT32_MAX)
    return shift_left(_newton(half_denominator), 1)


def _newton(half_denominator: IntArray) -> IntArray:
    """1 / half_denominator / 2 in Q1: three steps from 48/17 - 32/17 d, all in Q2."""
    x = 1515870810 + multiply(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - multiply(half_denominator, x)
        x = x + shift_left(multiply(x, error), 2)
    return x


def one_minus_over_one_plus(a: IntArray) -> IntArray:
    """(1 - a) / (1 + a) in Q0 for a in [0, 1] in Q0."""
    x = _newton(half_sum(a, INT32_MAX))
    return shift_left(x - (1 << 29), 2)


def logistic(value: IntArray, integer_bits: int) -> IntArray:
    """1 / (1 + exp(-value)) in Q0."""
    positive = one_over_one_plus(exp_of_negative(-np.abs(value), integer_bits))
    return np.where(value == 0, 1 << 30, np.where(value > 0, positive, INT32_MAX - positive))


def tanh(value: IntArray, integer_bits: int) -> IntArray:
    """tanh(value) in Q0: (1 - e) / (1 + e) with e = exp(-2 |value|), the exponent's format one bit wider."""
    positive = one_minus_over_one_plus(exp_of_negative(-np.abs(value), integer_bits + 1))
    return np.where(value == 0, 0, np.where(value > 0, positive, -positive))


def leading_zeros(value: IntArray) -> IntArray:
    """Of a positive int32."""
    return 32 - np.array([int(v).bit_length() for v in np.ravel(value)], np.int64).reshape(np.shape(value))


def reciprocal(value: IntArray, integer_bits: int) -> tuple[IntArray, IntArray]:
    """(1 / value scaled into Q0, how many bits the value lies above 1) for value >= 1/2 in Q`integer_bits`."""
    headroom = leading_zeros(value)
    return one_over_one_plus((value << headroom) - (1 << 31)), integer_bits - headroom


SQRT_HALF, _FOURTH_ROOT_OF_HALF, _LOG_2 = 1518500250, 1805811301, 1488522236  # Q0
# Of the rational approximation around the fourth root of a half, Q0.
_ALPHA_N, _ALPHA_D, _ALPHA_I, _ALPHA_F = 117049297, 127690142, 1057819769, 638450708
_LOG_BITS = 5  # integer bits of a logarithm; one more inside


def log_from_1(value: IntArray, integer_bits: int) -> IntArray:
    """log(value) in Q5 for value >= 1 in Q`integer_bits`: the power of two, and a rational function of what is left.

    What is left lies between sqrt(1/2) and 1 for one of two powers, a half apart; TFLite takes the larger.
    """
    inner, quarter = 31 - (_LOG_BITS + 1), np.int64(1) << (31 - (_LOG_BITS + 1) - 2)
    a_headroom = leading_zeros(value)
    a_rest = shift_left(multiply(shift_left(value, a_headroom - 1), SQRT_HALF), 1)
    a_power = shift_left(integer_bits - a_headroom, inner) + quarter
    b_headroom = leading_zeros(multiply(value, SQRT_HALF)) - 1
    b_power = shift_left(integer_bits - b_headroom, inner) - quarter
    rest = np.minimum(a_rest, shift_left(value, b_headroom))
    power = np.maximum(a_power, b_power)
    middle = half_sum(rest, _FOURTH_ROOT_OF_HALF)
    twice = 2 * (rest - _FOURTH_ROOT_OF_HALF)
    square = multiply(twice, twice)
    numerator = multiply(twice, rest) + multiply(multiply(twice, square), _ALPHA_N)
    denominator = multiply(middle, _ALPHA_I + twice + multiply(_ALPHA_D, square)) + multiply(_ALPHA_F, twice)
    fraction = multiply(rounding_divide_by_pot(numerator, _LOG_BITS + 1), one_over_one_plus(denominator))
    return shift_left(multiply(power, _LOG_2) + fraction, 1)
