"""Compute 1 / sqrt(x) in fixed point: GetInvSqrtQuantizedMultiplierExp in tensorflow/lite/kernels/internal/common.h."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.fixed_point import SQRT_HALF, half_sum, leading_zeros, multiply, shift_left
from codegen.arithmetic.requantize import INT32_MAX
from codegen.graph.graph import IntArray

_THREE_HALVES = (1 << 28) + (1 << 27)  # Q3
_STEPS = 5  # of Newton's method


def inverse_sqrt_multipliers(values: IntArray) -> tuple[IntArray, IntArray]:
    """(multiplier, shift) with 1 / sqrt(value) ~= multiplier * 2**(shift - 31), for int32 values >= 0."""
    counted = np.maximum(values, 2)
    is_large = counted >= 1 << 29
    scaled = np.where(is_large, counted // 4, counted)
    pairs = (leading_zeros(scaled) - 1) // 2 - 1
    shift = 11 + is_large - pairs
    half = half_sum(scaled << 2 * pairs >> 1, 0)  # of the value in Q3
    x = np.full(scaled.shape, 1 << 28, np.int64)
    for _ in range(_STEPS):
        cubed = shift_left(multiply(multiply(x, x), x), 6)
        x = shift_left(multiply(_THREE_HALVES, x) - multiply(half, cubed), 3)
    x = multiply(x, SQRT_HALF) << np.maximum(-shift, 0)
    is_tiny = values <= 1
    return np.where(is_tiny, INT32_MAX, x), np.where(is_tiny, 0, np.minimum(-shift, 0))
