"""Write factors that all channels share in digits, for kernels that add up values of 16 lanes alike.

As in `codegen.kernels.esp32s3.digits`, results are a clamped line, added up digit by digit. Where channels share their
factors, all digits fit into one vector, of which each product takes a lane: for each digit its factors and starts. Its
last lane is the shift at the end. In front of it the table has a vector of START_VALUE.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.clamped_sum import ClampedSum
from codegen.arithmetic.digit_line import digits_of
from codegen.kernels.esp32s3.digits import (
    DIGIT_BITS,
    MAX_SHIFT,
    START_VALUE,
    even_shares,
    partial_sums,
    too_wide,
    wrong_shifts,
)
from codegen.program.kernel import LANES, Table

SHIFT_LANE = LANES - 1
TABLE_BYTES = 2 * LANES
_MAX_DIGITS = 6


@dataclass(frozen=True)
class ScalarDigits:
    """The shape of a kernel's sums: digits of `bits` of so many `factors`, and `starts` of each digit.

    `values`: how many are multiplied by each factor.
    """

    factors: int
    values: int
    bits: int
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def products(self) -> int:
        """Of 16 results."""
        return self.count * self.factors * self.values + sum(self.starts)

    @property
    def lanes(self) -> tuple[tuple[range, range], ...]:
        """Those of factors, and those of starts, digit by digit."""
        ends = list(itertools.accumulate(self.factors + starts for starts in self.starts))
        return tuple(
            (range(end - starts - self.factors, end - starts), range(end - starts, end))
            for end, starts in zip(ends, self.starts, strict=True)
        )

    @property
    def is_in_one_vector(self) -> bool:
        return self.lanes[-1][1].stop <= SHIFT_LANE


def build_scalar_digits(line: ClampedSum, values: int) -> tuple[ScalarDigits, Table] | None:
    """Make the table, or None where the digits do not fit one vector, or their sums 20 bits."""
    for count, bits in itertools.product(range(1, _MAX_DIGITS + 1), DIGIT_BITS):
        spare = max((count - 1) * bits - line.shift, 0)
        factors = digits_of(np.array(line.factors) << spare, count, bits)
        starts = digits_of(np.array([line.offset << spare]) // START_VALUE, count, bits)[:, 0]
        highest = max(-(-abs(int(starts[-1])) // 127), 1)
        digits = ScalarDigits(len(line.factors), values, bits, (*(1,) * (count - 1), highest))
        shift = line.shift + spare - (count - 1) * bits
        if np.abs(factors[-1]).max() > 127 or shift > MAX_SHIFT or not digits.is_in_one_vector:
            continue
        table = _table(digits, factors, starts, shift)
        if not overflows(digits, table):
            return digits, table
    return None


def _table(digits: ScalarDigits, factors: np.ndarray, starts: np.ndarray, shift: int) -> Table:
    lanes = np.zeros(LANES, np.int64)
    for digit, (of_factors, of_starts) in enumerate(digits.lanes):
        lanes[of_factors.start : of_factors.stop] = factors[digit]
        lanes[of_starts.start : of_starts.stop] = even_shares(starts[digit], len(of_starts))
    lanes[SHIFT_LANE] = shift
    values = np.concatenate([np.full(LANES, START_VALUE), lanes]).astype(np.int8)
    return Table("digits", values, LANES, is_aligned=True)


def line_of(digits: ScalarDigits, table: Table) -> ClampedSum:
    """Read the table back."""
    lanes, factors, offset = table.values[LANES:].astype(np.int64), np.zeros(digits.factors, np.int64), 0
    for digit, (of_factors, of_starts) in enumerate(digits.lanes):
        factors += lanes[of_factors.start : of_factors.stop] << digit * digits.bits
        offset += START_VALUE * int(lanes[of_starts.start : of_starts.stop].sum()) << digit * digits.bits
    shift = int(lanes[SHIFT_LANE]) + (digits.count - 1) * digits.bits
    return ClampedSum(tuple(factors.tolist()), offset, shift)


def overflows(digits: ScalarDigits, table: Table) -> tuple[str, ...]:
    """Name the digits of which a partial sum, in any order of additions, does not fit a lane of 20 bits.

    The shift at the end has to be one that the unit can do.
    """
    lanes = table.values[LANES:].astype(np.int64)
    taps = np.stack([lanes[of_factors.start : of_factors.stop] for of_factors, _ in digits.lanes])
    starts = np.zeros((digits.count, max(digits.starts)), np.int64)
    for digit, (_, of_starts) in enumerate(digits.lanes):
        starts[digit, : len(of_starts)] = lanes[of_starts.start : of_starts.stop]
    wide = too_wide("digit", *partial_sums(taps, starts, digits.bits, digits.values))
    return (*wide, *wrong_shifts("sum", lanes[SHIFT_LANE:]))
