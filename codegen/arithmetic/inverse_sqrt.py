"""Compute 1 / sqrt(x) in fixed point: GetInvSqrtQuantizedMultiplierExp in tensorflow/lite/kernels/internal/common.h."""

from __future__ import annotations

from codegen.arithmetic.requantize import INT32_MAX

_HALF_SQRT_2 = 1518500250  # Q0
_THREE_HALVES = (1 << 28) + (1 << 27)  # Q3
_STEPS = 5  # of Newton's method


def _multiply(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def inverse_sqrt_multiplier(value: int) -> tuple[int, int]:
    """(multiplier, shift) with 1 / sqrt(value) ~= multiplier * 2**(shift - 31), for an int32 value >= 0."""
    if value <= 1:
        return INT32_MAX, 0
    shift = 11
    while value >= 1 << 29:
        value //= 4
        shift += 1
    pairs = (31 - value.bit_length()) // 2 - 1
    shift -= pairs
    value <<= 2 * pairs
    half = _half_away(value >> 1)  # of the value in Q3
    x = 1 << 28
    for _ in range(_STEPS):
        cubed = _rescaled(_multiply(_multiply(x, x), x), 6)
        x = _rescaled(_multiply(_THREE_HALVES, x) - _multiply(half, cubed), 3)
    x = _multiply(x, _HALF_SQRT_2)
    return (x << -shift, 0) if shift < 0 else (x, -shift)


def _half_away(value: int) -> int:
    """Divided by 2, halves away from 0; of a value that is not negative."""
    return (value + 1) >> 1


def _rescaled(value: int, bits: int) -> int:
    """Shifted left, saturating."""
    return max(-INT32_MAX - 1, min(INT32_MAX, value << bits))
