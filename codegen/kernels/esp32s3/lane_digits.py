"""Fold requantization into weights, digit by digit, for kernels whose 16 lanes are channels of one pixel.

As in `codegen.kernels.esp32s3.digits`, with the roles changed: there a vector holds pixels and a digit is one number
for all; here a vector holds a digit for each of 16 output channels. So what ends the sum is one shift for 16 channels:
their lines are scaled to the largest among them. The table begins with the vectors of HEAD; then come, for each group
of 16 channels, one whose first byte is the shift at the end, and for each digit one vector for each tap and those of
the starts. AHEAD more are at the end, since kernels load so many before they need them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codegen.arithmetic.digit_line import digits_of
from codegen.arithmetic.one_multiply_search import Line, RequantizedChannel
from codegen.kernels.esp32s3.digits import (
    DIGIT_BITS,
    MAX_DIGITS,
    MAX_SHIFT,
    MAX_STARTS,
    START_VALUE,
    Sums,
    differences_of_lines,
    even_shares,
    lines_of,
    overflows,
)
from codegen.kernels.weighted_layer import WeightedLayer
from codegen.program.kernel import LANES, Table, vectors_of

HEAD = 2  # vectors: START_VALUE; the stored zero
AHEAD = 2


@dataclass(frozen=True)
class LaneDigits:
    """The shape of a kernel's sums: `count` digits of `bits`, and `starts` vectors of each one."""

    taps: int
    bits: int
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def group_products(self) -> int:
        """Vectors that are multiplied for 16 results."""
        return self.count * self.taps + sum(self.starts)

    @property
    def group_bytes(self) -> int:
        return LANES * (self.group_products + 1)

    def table_bytes(self, channels: int) -> int:
        return LANES * (HEAD + AHEAD) + vectors_of(channels) * self.group_bytes


@lru_cache(maxsize=4)  # it applies, and is built
def build_lane_digits(layer: WeightedLayer) -> tuple[LaneDigits, Table] | None:
    """Make the table of a layer, or None where a channel has no line, or too many digits, or sums that do not fit."""
    channels = lines_of(layer)
    if channels is None:
        return None
    scaled = [channel.found for channel in _of_one_shift(channels, 0) if isinstance(channel.found, Line)]
    largest = int((np.abs(layer.taps).max(0) * np.array([line.factor for line in scaled])).max())
    for count, bits in itertools.product(range(1, MAX_DIGITS + 1), DIGIT_BITS):
        may_fit = largest <= 129 << (count - 1) * bits
        made = _assemble(layer, channels, count, bits) if may_fit else None
        if made is not None:
            return made
    return None


def _assemble(
    layer: WeightedLayer, channels: list[RequantizedChannel], count: int, bits: int
) -> tuple[LaneDigits, Table] | None:
    scaled = _of_one_shift(channels, (count - 1) * bits)
    lines = [channel.found for channel in scaled if isinstance(channel.found, Line)]
    shifts = np.array([line.shift for line in lines]) - (count - 1) * bits
    taps = digits_of(layer.taps * np.array([line.factor for line in lines]), count, bits)
    starts = digits_of(np.array([line.offset // START_VALUE for line in lines]), count, bits)
    last = -(-int(np.abs(starts[-1]).max()) // 127)
    if np.any(taps[-1] < -128) or np.any(taps[-1] > 127) or last > MAX_STARTS or shifts.max() > MAX_SHIFT:
        return None
    digits = LaneDigits(len(layer.taps), bits, (*(1,) * (count - 1), max(last, 1)))
    shares = np.zeros((count, max(digits.starts), len(lines)), np.int64)
    for digit, vectors in enumerate(digits.starts):
        shares[digit, :vectors] = even_shares(starts[digit], vectors)
    if overflows("channel", Sums(taps, shares, shifts), bits):
        return None
    head = np.full((HEAD, LANES), START_VALUE, np.int64)
    head[1] = layer.stored_zero
    lanes = [head.reshape(-1)]
    taps, shares = (np.pad(part, ((0, 0), (0, 0), (0, -len(lines) % LANES))) for part in (taps, shares))
    for first in range(0, len(lines), LANES):
        group = slice(first, first + LANES)
        lanes.append(np.full(LANES, shifts[first]))
        for digit, vectors in enumerate(digits.starts):
            lanes += [taps[digit, :, group].reshape(-1), shares[digit, :vectors, group].reshape(-1)]
    values = np.concatenate([*lanes, np.zeros(AHEAD * LANES, np.int64)]).astype(np.int8)
    return digits, Table("digits", values, LANES, channels=tuple(scaled), is_aligned=True)


def _of_one_shift(channels: list[RequantizedChannel], least: int) -> list[RequantizedChannel]:
    """Scale the lines of 16 channels at a time to one shift, at least so large."""
    found: list[RequantizedChannel] = []
    for first in range(0, len(channels), LANES):
        group = channels[first : first + LANES]
        lines = [channel.found for channel in group if isinstance(channel.found, Line)]
        shift = max(least, *(line.shift for line in lines))
        scaled = (line.scaled(shift - line.shift) for line in lines)
        found += [
            RequantizedChannel(channel.exact, channel.sums, line) for channel, line in zip(group, scaled, strict=True)
        ]
    return found


def _sums_of(digits: LaneDigits, table: Table) -> Sums:
    """Read the table back."""
    vectors = table.values.astype(np.int64).reshape(-1, LANES)[HEAD:-AHEAD]
    groups = vectors.reshape(-1, digits.group_products + 1, LANES)
    taps, starts, at = [], [], 1
    for count in digits.starts:
        taps.append(groups[:, at : at + digits.taps])
        missing = max(digits.starts) - count
        starts.append(np.pad(groups[:, at + digits.taps : at + digits.taps + count], ((0, 0), (0, missing), (0, 0))))
        at += digits.taps + count
    of_taps, of_starts = (
        np.stack(part).transpose(0, 2, 1, 3).reshape(digits.count, -1, len(groups) * LANES) for part in (taps, starts)
    )
    return Sums(of_taps, of_starts, np.repeat(groups[:, 0, 0], LANES))


def differences(digits: LaneDigits, table: Table) -> tuple[str, ...]:
    """Compare what the table's bytes add up to with the lines that are certified, channel by channel."""
    return differences_of_lines("channel", _sums_of(digits, table), digits.bits, table.channels)
