"""Compute float32 functions bit for bit as interpreters on this kind of machine do, without their C library.

`exp` is glibc's expf (since 2.27; Szabolcs Nagy, Arm Optimized Routines), which sums in double precision: TensorFlow
Lite's float kernels call it. The others are the kernels of tensorflow/lite/kernels/internal/reference/*.h.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_TABLE_BITS = 5
_PARTS = 1 << _TABLE_BITS  # of a power of two
_POWERS = np.exp2(np.arange(_PARTS) / _PARTS).view(np.uint64) - (
    np.arange(_PARTS, dtype=np.uint64) << np.uint64(52 - _TABLE_BITS)
)
_CUBIC = (
    float.fromhex("0x1.c6af84b912394p-5") / _PARTS**3,
    float.fromhex("0x1.ebfce50fac4f3p-3") / _PARTS**2,
    float.fromhex("0x1.62e42ff0c52d6p-1") / _PARTS,
)
_PER_NATURAL = float.fromhex("0x1.71547652b82fep+0") * _PARTS
_OVERFLOW, _UNDERFLOW = np.float32(88.72283), np.float32(-103.972084)
_LOGISTIC_UPPER, _LOGISTIC_LOWER = np.float32(16.619047164916992188), np.float32(-9.0)


def exp(values: Floats) -> Floats:
    """e to the power of each value."""
    bounded = np.clip(values, _UNDERFLOW, _OVERFLOW).astype(np.float64)
    scaled = bounded * _PER_NATURAL
    whole = np.rint(scaled)
    rest = scaled - whole
    steps = whole.astype(np.int64)
    bits = _POWERS[steps % _PARTS] + (steps.astype(np.uint64) << np.uint64(52 - _TABLE_BITS))
    squared = rest * rest
    cubic = (_CUBIC[0] * rest + _CUBIC[1]) * squared + (_CUBIC[2] * rest + 1.0)
    with np.errstate(over="ignore", under="ignore"):
        found = (cubic * bits.view(np.float64)).astype(np.float32)
    return np.where(values > _OVERFLOW, np.float32(np.inf), np.where(values < _UNDERFLOW, np.float32(0), found))


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-value)), with the two cut-offs of reference/logistic.h."""
    one = np.float32(1)
    with np.errstate(over="ignore"):
        inside = one / (one + exp(-values))
    return np.where(values > _LOGISTIC_UPPER, one, np.where(values < _LOGISTIC_LOWER, exp(values), inside))


def round_half_even(values: Floats) -> Floats:
    """To the nearest integer, of two the even one; never -0, by the way that reference/round.h computes it."""
    below = np.floor(values)
    rest = values - below
    stays = (rest < 0.5) | ((rest == 0.5) & (below % 2 == 0))
    return np.where(stays, below, below + np.float32(1))


def floor_mod(values: Floats, divisor: Floats) -> Floats:
    """Compute the remainder with the divisor's sign, as reference FloorMod does."""
    rest = np.fmod(values, divisor)
    return np.where((rest != 0) & ((divisor < 0) != (rest < 0)), rest + divisor, rest)
