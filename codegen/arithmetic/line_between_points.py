"""Find lines that reach each of some points and stay below each of others, for the search of multipliers.

Slopes are floats, which only pick candidates; intercepts are integers, on which the answer rests. See
docs/adr/0006-one-multiply-requantization.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray

_SLOPE_MARGIN = 1e-12  # relative; far above the error of a float quotient of two small integers


@dataclass(frozen=True, eq=False)
class Corridor:
    """Points (n, 2) of (sum, k): the line must reach every one of `reach` and stay below every one of `below`."""

    reach: IntArray
    below: IntArray

    def slopes(self) -> tuple[float, float]:
        """Open interval of the positive slopes of such lines; the first exceeds the second where there is none."""
        step = self.below[None, :, :] - self.reach[:, None, :]
        dx, dk = step[..., 0], step[..., 1]
        if bool(((dx == 0) & (dk <= 0)).any()):
            return np.inf, 0.0
        slope = dk / np.where(dx == 0, 1, dx)
        return (
            float(slope[dx < 0].max(initial=0.0)) * (1 - _SLOPE_MARGIN),
            float(slope[dx > 0].min(initial=np.inf)) * (1 + _SLOPE_MARGIN),
        )

    def intercepts(
        self, c: IntArray, multiplier: IntArray, bits: IntArray, lowest: IntArray, highest: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Smallest and largest b of each candidate, exactly: c*x + b reaches k where it is >= ceil(k*2**bits / M)."""
        first, last = lowest, highest
        for x, k in self.reach:
            first = np.maximum(first, -((-k << bits) // multiplier) - c * x)
        for x, k in self.below:
            last = np.minimum(last, -((-k << bits) // multiplier) - c * x - 1)
        return first, last

    def hull(self) -> Corridor:
        """Drop points that bound no line."""
        return Corridor(_upper_hull(self.reach), _upper_hull(self.below * (1, -1)) * (1, -1))


def _upper_hull(points: IntArray) -> IntArray:
    """Return the corners above which no other point lies, of points sorted by x.

    A point that lies on or below the line between its two neighbours is none, whatever becomes of those; so all such
    points go at once, until there are none.
    """
    last_of_x = np.flatnonzero(np.diff(points[:, 0], append=np.inf))
    if len(last_of_x) < len(points):
        highest = np.maximum.reduceat(points[:, 1], np.concatenate([[0], last_of_x[:-1] + 1]))
        points = np.stack([points[last_of_x, 0], highest], 1)
    while len(points) > 2:
        x, y = points[:, 0], points[:, 1]
        left, right = slice(0, -2), slice(2, None)
        rise = (y[1:-1] - y[left]) * (x[right] - x[1:-1])
        fall = (y[right] - y[1:-1]) * (x[1:-1] - x[left])
        kept = np.concatenate([[True], rise > fall, [True]])
        if kept.all():
            break
        points = points[kept]
    return points
