"""Requantization with one multiply: `((c * sum + b) * multiplier) >> 32`, equal to TFLite's two roundings.

Source of the exact form: MultiplyByQuantizedMultiplier in tensorflow/lite/kernels/internal/common.cc; see
`codegen.arithmetic.requantize`. Derivation, proof and figures: docs/adr/0006-one-multiply-requantization.md.

**Exactness.** Both sides never decrease in the sum, and both are integers. Such a function is known from its
thresholds, for each k the smallest sum that yields k or more, because its value at a sum is the largest k whose
threshold the sum has reached. So two of them are equal on a whole interval where they have the same thresholds there
and the same values beyond its ends, which here are clamped away. The search solves for the thresholds, at most 255.

**Search.** Value k is reached at t and no earlier where p*t + q >= k > p*(t - 1) + q, with p = c*multiplier / 2**32 and
q = b*multiplier / 2**32: a line above one set of points and below another. Slopes of such lines form an interval,
often empty to begin with (then no integers can do it), always narrow; it leaves few multipliers for each c, and for
each multiplier an interval of b. All of this is in integers, but for the slope interval, which only picks candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from codegen.arithmetic.line_between_points import Corridor
from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier
from codegen.graph.graph import IntArray

INT32_MIN = -INT32_MAX - 1
MAX_SHIFT = 20  # k * 2**(32 + shift) stays in int64
_MAX_FACTOR = 1 << 16  # of channels whose sums are so small that more would fit: a hundred times what any layer took
_FACTORS_AT_ONCE = 4096
_MULTIPLIERS_PER_FACTOR = 64
_NEAR_SUMS = 3
_CHANNELS_KEPT = 4096  # of what was found, since a layer is asked for anew by each kernel, target and form tried


@dataclass(frozen=True)
class WeightedSum:
    """What one output channel adds up, without bias: every final value, every partial value, the largest |weight|."""

    low: int
    high: int
    partial_low: int
    partial_high: int
    largest_weight: int

    @classmethod
    def of_weights(cls, weights: IntArray, value_low: int, value_high: int) -> WeightedSum:
        """Return the bounds of one channel's taps times values in [value_low, value_high], added in any order.

        Values are what the kernel multiplies, with or without their zero point subtracted, as long as the bias of the
        `Rescale` agrees. Where windows overhang, the interval must include what padding contributes.
        """
        products = np.multiply.outer(np.asarray(weights, np.int64).reshape(-1), np.array([value_low, value_high]))
        low, high = products.min(1), products.max(1)
        return cls(
            int(low.sum()),
            int(high.sum()),
            int(np.minimum(low, 0).sum()),
            int(np.maximum(high, 0).sum()),
            int(np.abs(weights).max(initial=0)),
        )


@dataclass(frozen=True)
class Rescale:
    """The exact function of one channel: sum -> output minus zero point, clamped to [low, high].

    `low` and `high` are the limits of the activation minus the output's zero point.
    """

    bias: int
    multiplier: int
    shift: int
    low: int
    high: int

    def apply(self, sums: IntArray) -> IntArray:
        scaled = multiply_by_quantized_multiplier(sums + self.bias, np.array(self.multiplier), np.array(self.shift))
        return np.minimum(np.maximum(scaled, self.low), self.high)  # several times as fast as np.clip

    @property
    def factor(self) -> float:
        return math.ldexp(self.multiplier, self.shift - 31)


@dataclass(frozen=True)
class HighMul:
    """One channel's integers. With v = c * sum + b (c may be folded into the weights, v then starts at b):

        v += (v >> 31) & sign_correction;           only where sign_correction is not 0
        scaled = (int64) v * multiplier >> 32 + shift;      a high multiply, and a shift where it is not 0

    equals the exact result plus `offset`, once both are clamped. v and the corrected v fit int32. c is 0 where the
    result is the same for every sum.
    """

    c: int
    b: int
    multiplier: int
    shift: int = 0
    sign_correction: int = 0
    offset: int = 0

    def apply(self, sums: IntArray) -> IntArray:
        """Compute the scaled values before the clamp, as the generated C does."""
        value = self.c * sums + self.b
        value = value + ((value >> 31) & self.sign_correction)
        return (value * self.multiplier) >> (32 + self.shift)


@dataclass(frozen=True)
class Line:
    """One channel's integers where no wide multiply is needed (codegen.arithmetic.digit_line): the stored result is
    floor((factor * sum + offset) / 2**shift), clamped to int8. `zero_point` is the output's, which it includes."""

    factor: int
    offset: int
    shift: int
    zero_point: int

    def apply(self, sums: IntArray) -> IntArray:
        """Compute the result less its zero point, before the clamp."""
        return ((self.factor * sums + self.offset) >> self.shift) - self.zero_point

    def scaled(self, bits: int) -> Line:
        """Return the same line in larger numbers."""
        return Line(self.factor << bits, self.offset << bits, self.shift + bits, self.zero_point)


@dataclass(frozen=True)
class RequantizedChannel:
    """States how one channel is requantized, for `certify`. `found` is None where `exact` itself is computed."""

    exact: Rescale
    sums: WeightedSum
    found: HighMul | Line | None


@lru_cache(_CHANNELS_KEPT)
def find_high_mul(
    exact: Rescale,
    sums: WeightedSum,
    *,
    max_weight: int = INT32_MAX,
    max_shift: int = 0,
    sign_correction: bool = False,
    offset: int = 0,
) -> HighMul | None:
    """Find the integers with the least c that equal `exact` at every sum in [sums.low, sums.high], or None.

    Cheapest form first: without a shift and a sign correction, then with a shift up to `max_shift` (<= 20), then, if
    `sign_correction`, with one; that helps where results of both signs round away from zero. c * sums.largest_weight
    stays within `max_weight` (32767 for int16 tables), c * sum + b within int32 for every final and partial sum.
    `offset` is added to the result for free: zero point + 128 gives output bytes. With a sign correction, -1 is best.

    The caller proves that `exact` itself cannot overflow (`accumulator_bound`).
    """
    if not 0 <= max_shift <= MAX_SHIFT:
        raise ValueError(f"max_shift is {max_shift}, not within 0 to {MAX_SHIFT}")
    first, last = _ends(exact, sums, offset)
    if first == last:
        return HighMul(0, 4 * first + 2, 1 << 30, offset=offset)  # (4k + 2) * 2**30 = (k + 1/2) * 2**32
    if first > last:  # it falls, by a negative multiplier, and no rising line is it
        return None
    forms = _forms(exact, sums, offset)[: 1 + sign_correction]
    for corridors in forms:
        for shift in (0, max_shift) if max_shift else (0,):
            found = _search(corridors, sums, max_weight, shift, offset)
            if found is not None:
                return found
    return None


def _ends(exact: Rescale, sums: WeightedSum, offset: int) -> tuple[int, int]:
    """Values at the interval's ends."""
    low, high = exact.apply(np.array([sums.low, sums.high]))
    return int(low) + offset, int(high) + offset


@lru_cache(_CHANNELS_KEPT // 8)
def _forms(exact: Rescale, sums: WeightedSum, offset: int) -> tuple[tuple[Corridor, ...], ...]:
    """Where the line may run, and where two of one slope may, of which the second is for negative results."""
    first, last = _ends(exact, sums, offset)
    values = np.arange(first + 1, last + 1)
    thresholds = np.stack([thresholds_of(exact, sums, values - offset), values], 1)
    # Beyond the ends of the interval only those values matter that the clamp does not hide.
    before = np.array([[sums.low, first]] if first > exact.low + offset else [], np.int64).reshape(-1, 2)
    after = np.array([[sums.high, last + 1]] if last < exact.high + offset else [], np.int64).reshape(-1, 2)
    line = Corridor(np.concatenate([before, thresholds]), np.concatenate([thresholds - (1, 0), after]))
    if not first < 0 <= last:
        return ((line.hull(),),)
    # v is negative exactly where the result is: k = 0 ends the one line and begins the other.
    negative = Corridor(line.reach[line.reach[:, 1] < 0], line.below[line.below[:, 1] <= 0])
    positive = Corridor(line.reach[line.reach[:, 1] >= 0], line.below[line.below[:, 1] >= 0])
    return (line.hull(),), (positive.hull(), negative.hull())


def find_layer(
    channels: Sequence[tuple[Rescale, WeightedSum]],
    *,
    max_weight: int = INT32_MAX,
    max_shift: int = 0,
    sign_correction: bool = False,
    offset: int = 0,
) -> tuple[HighMul, ...] | None:
    """`find_high_mul` for every channel of a layer with one shift for all, the least, so that it can be a constant."""
    for shift in range(max_shift + 1):
        layer: list[HighMul] = []
        for exact, sums in channels:
            found = find_high_mul(
                exact, sums, max_weight=max_weight, max_shift=shift, sign_correction=sign_correction, offset=offset
            )
            aligned = found and _with_shift(found, shift)
            if aligned is None:
                break
            layer.append(aligned)
        else:
            return tuple(layer)
    return None


def _with_shift(found: HighMul, shift: int) -> HighMul | None:
    """Return the same function with a larger shift, or None where the multiplier would not fit."""
    spare = shift - found.shift
    if found.c == 0:
        return replace(found, b=found.b << spare, shift=shift)
    if found.multiplier << spare > INT32_MAX:
        return None
    return replace(found, multiplier=found.multiplier << spare, shift=shift)


def thresholds_of(exact: Rescale, sums: WeightedSum, values: IntArray) -> IntArray:
    """For each value the smallest sum in the interval that yields it or more; exact(low) < values <= exact(high).

    By bisection, which begins close to where real arithmetic has the threshold, if that is confirmed.
    """
    near = np.floor((values - 0.5) / exact.factor).astype(np.int64) - exact.bias
    below, reached = (np.minimum(np.maximum(near + d, sums.low), sums.high) for d in (-_NEAR_SUMS, _NEAR_SUMS))
    below = np.where(exact.apply(below) < values, below, sums.low)
    reached = np.where(exact.apply(reached) >= values, reached, sums.high)
    for _ in range(int((reached - below).max()).bit_length()):
        middle = (below + reached) >> 1
        high_enough = exact.apply(middle) >= values
        reached, below = np.where(high_enough, middle, reached), np.where(high_enough, below, middle)
    return reached


def _search(
    corridors: tuple[Corridor, ...], sums: WeightedSum, max_weight: int, max_shift: int, offset: int
) -> HighMul | None:
    """Least c for which one line, or two of one slope, keep to their corridors; of its candidates the roomiest."""
    bounds = [corridor.slopes() for corridor in corridors]
    slopes = max(low for low, _ in bounds), min(min(high for _, high in bounds), 2.0**31)
    # Besides the sums, products have to fit int32: none is further from 0 than all of its sign together.
    max_c = min(
        max_weight // max(sums.largest_weight, 1),
        (2**32 - 1) // (sums.partial_high - sums.partial_low),
        INT32_MAX // max(sums.partial_high, -sums.partial_low),
        _MAX_FACTOR,
    )
    if slopes[0] >= slopes[1]:
        return None
    for c, multiplier, shift in _candidates(slopes, max_c, max_shift):
        lowest, highest = INT32_MIN - c * sums.partial_low, INT32_MAX - c * sums.partial_high
        first, last = corridors[0].intercepts(c, multiplier, 32 + shift, lowest, highest)
        room, b = last - first, (first + last) >> 1
        correction = np.zeros_like(b)
        if len(corridors) > 1:
            lowest, highest = INT32_MIN - c * sums.low, np.full_like(b, INT32_MAX)
            first, last = corridors[1].intercepts(c, multiplier, 32 + shift, lowest, highest)
            correction = np.clip(correction, first - b, last - b)
            room = np.where(np.abs(correction) <= INT32_MAX, np.minimum(room, last - first), -1)
        if room.max(initial=-1) >= 0:
            best = int(np.where(c == c[room >= 0][0], room, -1).argmax())
            c0, b0, multiplier0, shift0, correction0 = (int(a[best]) for a in (c, b, multiplier, shift, correction))
            spare = min(shift0, (multiplier0 & -multiplier0).bit_length() - 1)
            return HighMul(c0, b0, multiplier0 >> spare, shift0 - spare, correction0, offset)
    return None


def _candidates(
    slopes: tuple[float, float], max_c: int, max_shift: int
) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Arrays (c, multiplier, shift) with increasing c and a slope c * multiplier / 2**(32 + shift) in the interval.

    The largest shift whose multiplier fits int32 goes with each c: it has the finest slopes. Where more multipliers
    fit than it is worth to try, evenly spaced ones are taken.
    """
    for start in range(1, max_c + 1, _FACTORS_AT_ONCE):
        c = np.arange(start, min(start + _FACTORS_AT_ONCE, max_c + 1))
        per_factor = slopes[1] * 2.0**32 / c
        shift = np.clip(np.floor(np.log2(INT32_MAX / per_factor)), 0, max_shift).astype(np.int64)
        scale = 2.0 ** (32 + shift) / c
        first = np.maximum(np.ceil(slopes[0] * scale), 1).astype(np.int64)
        last = np.minimum(np.floor(slopes[1] * scale), INT32_MAX).astype(np.int64)
        fitting = np.maximum(last - first + 1, 0)
        tried = np.minimum(fitting, _MULTIPLIERS_PER_FACTOR)
        rows = np.repeat(np.arange(len(c)), tried)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(tried) - tried, tried)
        yield c[rows], first[rows] + nth * fitting[rows] // tried[rows], shift[rows]
