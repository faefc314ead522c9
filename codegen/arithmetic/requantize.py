"""Scaling an int32 accumulator to int8, exactly as TFLite and TFLM do it.

Sources: QuantizeMultiplier in tensorflow/lite/kernels/internal/quantization_util.cc and the double-rounding
MultiplyByQuantizedMultiplier in tensorflow/lite/kernels/internal/common.cc (gemmlowp fixed point).
"""

from __future__ import annotations

import math

import numpy as np

from codegen.graph.graph import IntArray

INT32_MAX = 2**31 - 1


def round_half_away(value: float) -> int:
    """C's std::round: halves go away from zero."""
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real ~= multiplier * 2**(shift - 31), multiplier in [2**30, 2**31) or 0."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def quantize_multipliers(reals: IntArray | list[float]) -> tuple[IntArray, IntArray]:
    """Element-wise `quantize_multiplier`: two int64 arrays."""
    pairs = [quantize_multiplier(float(real)) for real in reals]
    return np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64)


def saturating_rounding_doubling_high_mul(a: IntArray, b: IntArray | int) -> IntArray:
    """gemmlowp: a * b / 2**31 to the nearest integer, halves up; without its one saturating case a = b = -2**31.

    gemmlowp writes it as a truncating division with a nudge that depends on the sign, which comes to the same.
    """
    return (a * b + (1 << 30)) >> 31


def rounding_divide_by_pot(value: IntArray, exponent: IntArray | int) -> IntArray:
    """gemmlowp: round(value / 2**exponent), halves away from zero."""
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    threshold = (mask >> 1) + (value < 0)
    return (value >> exponent) + ((value & mask) > threshold)


def exact_product(a: IntArray, b: IntArray) -> IntArray:
    """Matrix product of int64 arrays of int8 or int16 values, by float64, which holds every sum below 2**53 exactly.

    NumPy multiplies matrices of integers one by one, those of floating point a hundred times as fast.
    """
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def multiply_by_quantized_multiplier(
    accumulator: IntArray, multiplier: IntArray | int, shift: IntArray | int
) -> IntArray:
    """int64 arrays (broadcast): the scaled accumulator, rounded twice. The caller proves int32 range before."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(accumulator << left, multiplier), right)
