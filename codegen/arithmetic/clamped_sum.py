"""Find one shift of a weighted sum that equals a function of one or two integers wherever it is asked for.

    result = clamp(floor((factor_0 * value_0 + factor_1 * value_1 + offset) / 2**shift), -128, 127)

Sums of two scaled tensors, requantization of one, and rounded means are such functions but for the order of their
roundings. For each shift, the least first, factors next to the real ones are tried; the results then leave an interval
of offsets, often an empty one. Every combination of values is looked at, so that what is found needs no other proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from codegen.arithmetic.line_between_points import Corridor
from codegen.graph.graph import IntArray

LOW, HIGH = -128, 127
_SHIFTS = range(6, 29)
_NEAR = (0, 1, -1)
_FAR = 1 << 60


@dataclass(frozen=True)
class ClampedSum:
    factors: tuple[int, ...]
    offset: int
    shift: int

    def apply(self, values: Sequence[IntArray]) -> IntArray:
        """Compute the results of int64 values, whose shapes broadcast."""
        total = sum((factor * value for factor, value in zip(self.factors, values, strict=True)), np.int64(self.offset))
        clamped: IntArray = np.clip(np.asarray(total) >> self.shift, LOW, HIGH)
        return clamped


def find_clamped_sum(
    expected: IntArray, values: Sequence[IntArray], ratios: Sequence[float], offset_step: int
) -> ClampedSum | None:
    """Find the sum of the least shift that gives `expected`, int8 values, or None.

    `ratios`: what a step of each value adds to the result. The offset is a multiple of `offset_step`.
    """
    near = sorted(product(_NEAR, repeat=len(values)), key=lambda steps: sum(map(abs, steps)))
    inside_low, inside_high = expected > LOW, expected < HIGH
    for shift in _SHIFTS:
        needed = np.where(inside_low, expected << shift, -_FAR)
        room = np.where(inside_high, ((expected + 1) << shift) - 1, _FAR)
        for steps in near:
            factors = tuple(round(np.ldexp(ratio, shift)) + step for ratio, step in zip(ratios, steps, strict=True))
            total = sum((factor * value for factor, value in zip(factors, values, strict=True)), np.int64(0))
            least, most = int((needed - total).max()), int((room - total).min())
            offset = -(-max(least, (2 * LOW) << shift) // offset_step) * offset_step
            if offset <= most:
                return ClampedSum(factors, offset, shift)
    return None


def slope_of(results: IntArray) -> float | None:
    """Find the slope of a line that gives these results for consecutive integers; None where no rising one does."""
    places = np.arange(len(results))
    reach = np.stack([places, results], 1)[results > LOW]
    below = np.stack([places, results + 1], 1)[results < HIGH]
    if not len(reach) or not len(below):
        return 0.0
    low, high = Corridor(reach, below).slopes()
    return (low + high) / 2 if low < high < np.inf else None
