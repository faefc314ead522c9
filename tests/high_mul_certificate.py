"""A slow, separate check that one multiply equals TFLite's two roundings; shares no arithmetic with the search."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.one_multiply_search import HighMul, Rescale, WeightedSum

Int64Array = npt.NDArray[np.int64]
EXHAUSTIVE_VALUES = 1 << 21
CHUNK_VALUES = 1 << 16


def exact_result(rescale: Rescale, sum_: int) -> int:
    """gemmlowp word for word, with C's truncating division, on Python integers."""
    product = ((sum_ + rescale.bias) << max(rescale.shift, 0)) * rescale.multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    exponent = max(-rescale.shift, 0)
    mask = (1 << exponent) - 1
    rounded = (high >> exponent) + int((high & mask) > (mask >> 1) + int(high < 0))
    return max(rescale.low, min(rescale.high, rounded))


def exact_results(rescale: Rescale, sums: Int64Array) -> Int64Array:
    """The same for many sums: rounds magnitudes half up, then puts the sign back."""
    product = (sums + rescale.bias) * 2 ** max(rescale.shift, 0) * rescale.multiplier
    high = np.where(product >= 0, (product + 2**30) // 2**31, -((2**30 - 1 - product) // 2**31))
    divisor = 2 ** max(-rescale.shift, 0)
    rounded = np.sign(high) * ((2 * np.abs(high) + divisor) // (2 * divisor))
    limited: Int64Array = np.minimum(np.maximum(rounded, rescale.low), rescale.high)
    return limited


def generated_result(found: HighMul, rescale: Rescale, sum_: int) -> int:
    """The statements of `HighMul`, on Python integers that must fit int32."""
    value = found.c * sum_ + found.b
    assert -(2**31) <= value < 2**31
    if value < 0:
        value += found.sign_correction
    assert -(2**31) <= value < 2**31
    scaled = value * found.multiplier // (1 << (32 + found.shift))
    return max(rescale.low, min(rescale.high, scaled - found.offset))


def certify(
    found: HighMul,
    rescale: Rescale,
    sums: WeightedSum,
    *,
    samples: int = 2000,
    exhaustive: int = EXHAUSTIVE_VALUES,
) -> None:
    """AssertionError unless equal at every sum; for intervals of `exhaustive` sums or more at all thresholds, their
    neighbours and samples."""
    assert 0 <= found.multiplier < 2**31
    assert -(2**31) < found.sign_correction < 2**31
    assert found.c >= 1 or exact_result(rescale, sums.low) == exact_result(rescale, sums.high)
    for partial in (sums.partial_low, sums.partial_high, 0):
        assert -(2**31) <= found.c * partial + found.b < 2**31
    if sums.high - sums.low < exhaustive:
        for start in range(sums.low, sums.high + 1, CHUNK_VALUES):
            chunk = np.arange(start, min(start + CHUNK_VALUES, sums.high + 1))
            value = chunk * found.c + found.b
            value = np.where(value < 0, value + found.sign_correction, value)
            assert np.abs(value + 0.5).max() < 2**31
            scaled = value * found.multiplier // 2 ** (32 + found.shift) - found.offset
            limited = np.minimum(np.maximum(scaled, rescale.low), rescale.high)
            np.testing.assert_array_equal(limited, exact_results(rescale, chunk))
    rng = np.random.default_rng(0)
    picked = set(rng.integers(sums.low, sums.high, samples, endpoint=True).tolist())
    if sums.high - sums.low >= exhaustive:
        picked |= _around_thresholds(rescale, sums)
    for sum_ in picked | {sums.low, sums.high}:
        assert generated_result(found, rescale, sum_) == exact_result(rescale, sum_), (found, rescale, sums, sum_)


def _around_thresholds(rescale: Rescale, sums: WeightedSum) -> set[int]:
    """The first sum of every result, found by halving intervals whose ends differ, and its neighbours."""
    intervals, found = [(sums.low, sums.high)], set()
    while intervals:
        low, high = intervals.pop()
        if exact_result(rescale, low) == exact_result(rescale, high):
            continue
        if high - low == 1:
            found |= {low - 1, low, high, high + 1}
        else:
            middle = (low + high) // 2
            intervals += [(low, middle), (middle, high)]
    return {sum_ for sum_ in found if sums.low <= sum_ <= sums.high}
