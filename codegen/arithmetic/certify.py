"""Check that a channel's requantization equals TFLite's at every sum that it can reach; shares no code with the search.

The exact side is MultiplyByQuantizedMultiplier of tensorflow/lite/kernels/internal/common.cc, word for word. It never
decreases, so a bisection finds every sum at which its result changes. The generated side never decreases either, on
each side of the sum at which its value changes sign. Between two neighbouring ones of all these sums the exact result
is constant and the generated one lies between its values at the two ends. So it is enough to compare both there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from codegen.arithmetic.one_multiply_search import HighMul, Line, RequantizedChannel, Rescale
from codegen.graph.graph import IntArray

_INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True)
class Certificate:
    """What was found out about one channel. `failure` is empty where everything holds.

    `low` and `high`: the sums of weights times values that any input can give, without bias. `value_low` and
    `value_high`: what the int32 variable can hold at any point of the sum, factor and start value included.
    `thresholds`: sums at which the exact result changes; `compared`: sums at which both results were computed.
    """

    form: Literal["one multiply", "digits", "two roundings"]
    factor: int
    start: int
    multiplier: int
    shift: int
    sign_correction: int
    low: int
    high: int
    value_low: int
    value_high: int
    thresholds: int = 0
    compared: int = 0
    failure: str = ""


@lru_cache(maxsize=1 << 14)
def certify(channel: RequantizedChannel) -> Certificate:
    """Compare one multiply with TFLite's two roundings; of two roundings themselves, only that nothing overflows."""
    found, exact, sums = channel.found, channel.exact, channel.sums
    if isinstance(found, Line):
        return _certify_line(channel, found)
    factor, start = (found.c, found.b) if found else (1, exact.bias)
    value_low, value_high = start + factor * sums.partial_low, start + factor * sums.partial_high
    certificate = Certificate(
        "one multiply" if found else "two roundings",
        factor,
        start,
        found.multiplier if found else exact.multiplier,
        found.shift if found else exact.shift,
        found.sign_correction if found else 0,
        sums.low,
        sums.high,
        value_low,
        value_high,
    )
    failure = _overflow(channel, value_low, value_high)
    if failure or found is None:
        return replace(certificate, failure=failure)
    return _compare(channel, certificate, [-(found.b // found.c)] if found.c else [])


def _certify_line(channel: RequantizedChannel, line: Line) -> Certificate:
    """Compare a line that is added up digit by digit; that no digit's sum is too wide is its kernel's proof."""
    exact, sums = channel.exact, channel.sums
    low, high = exact.bias + sums.partial_low, exact.bias + sums.partial_high
    certificate = Certificate("digits", line.factor, line.offset, 1, line.shift, 0, sums.low, sums.high, low, high)
    return _compare(channel, certificate, [])


def _compare(channel: RequantizedChannel, certificate: Certificate, more: list[int]) -> Certificate:
    """Compare both results on either side of each threshold, at the ends and at `more` sums."""
    found, exact, sums = channel.found, channel.exact, channel.sums
    assert found is not None
    thresholds = _thresholds(exact, sums.low, sums.high)
    edges = np.array([sums.low, *thresholds.tolist(), *more, sums.high + 1])
    points = _distinct(np.sort(_clamp(np.concatenate([edges, edges - 1]), sums.low, sums.high)))
    differing = points[_exact(exact, points) != _generated(found, exact, points)]
    failure = f"differs from TFLite's result at the sum {int(differing[0])}" if differing.size else ""
    return replace(certificate, thresholds=len(thresholds), compared=len(points), failure=failure)


def _overflow(channel: RequantizedChannel, value_low: int, value_high: int) -> str:
    found = channel.found
    assert not isinstance(found, Line)
    if found is None:
        left = max(channel.exact.shift, 0)
        fits = value_low << left in _INT32 and value_high << left in _INT32
        return "" if fits else "the accumulator or its left shift can leave int32"
    if found.c < 0 or found.multiplier not in range(2**31):
        return "a factor is negative"
    if found.shift not in range(32):
        return f"int32 is shifted by {found.shift}"
    if value_low not in _INT32 or value_high not in _INT32:
        return "a partial sum can leave int32"
    least = found.b + found.c * channel.sums.low
    corrected = (value + found.sign_correction for value in (least, -1) if least < 0)
    return "" if all(value in _INT32 for value in corrected) else "the sign correction can leave int32"


def _exact(rescale: Rescale, sums: IntArray) -> IntArray:
    """SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT, then the clamp."""
    product = ((sums + rescale.bias) << max(rescale.shift, 0)) * rescale.multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(nudged) * (np.abs(nudged) >> 31)  # C's division truncates
    exponent = max(-rescale.shift, 0)
    remainder, mask = high & ((1 << exponent) - 1), (1 << exponent) - 1
    rounded = (high >> exponent) + (remainder > (mask >> 1) + (high < 0))
    return _clamp(rounded, rescale.low, rescale.high)


def _generated(found: HighMul | Line, rescale: Rescale, sums: IntArray) -> IntArray:
    """Compute what a kernel ends in: (value * multiplier) >> 32 >> shift, less the offset, clamped; or a line."""
    if isinstance(found, Line):
        stored = _clamp((found.factor * sums + found.offset) >> found.shift, -128, 127)
        return stored - found.zero_point
    value = found.b + found.c * sums
    corrected = np.where(value < 0, value + found.sign_correction, value)
    scaled = (corrected * found.multiplier) >> 32 >> found.shift
    return _clamp(scaled - found.offset, rescale.low, rescale.high)


def _thresholds(rescale: Rescale, low: int, high: int) -> IntArray:
    """Every sum above `low` whose exact result exceeds that of the sum before."""
    first, last = (int(result) for result in _exact(rescale, np.array([low, high])))
    results = np.arange(first + 1, last + 1)
    if not results.size:
        return results
    # Whatever the floats say: the result is not yet reached `before`, and it is `reached`.
    estimate = (results - 0.5) * 2.0 ** (31 - rescale.shift) / rescale.multiplier - rescale.bias
    before, reached = (_clamp(np.rint(estimate + d).astype(np.int64), low, high) for d in (-4, 4))
    before = np.where(_exact(rescale, before) < results, before, low)
    reached = np.where(_exact(rescale, reached) >= results, reached, high)
    while (reached - before).max() > 1:
        middle = (before + reached) // 2
        enough = _exact(rescale, middle) >= results
        before, reached = np.where(enough, before, middle), np.where(enough, middle, reached)
    return _distinct(reached)


def _clamp(values: IntArray, low: int, high: int) -> IntArray:
    return np.minimum(np.maximum(values, low), high)  # several times as fast as np.clip


def _distinct(ordered: IntArray) -> IntArray:
    """Each value once, of values that never decrease."""
    distinct: IntArray = ordered[np.concatenate([[True], ordered[1:] > ordered[:-1]])]
    return distinct
