"""Fold requantization into weights, digit by digit (codegen.arithmetic.digit_line), as the vector kernels add them up.

A unit is what gives one vector of 16 results: an output channel, or one parity of its columns where it is upsampled.
For each digit its kernel multiplies `taps` vectors of values by the unit's weights and a vector of START_VALUE by
`starts` numbers, all in lanes of 20 bits. The table begins with the vectors of HEAD; then come, for each unit and
digit, the weights and the starts, one byte each, filled up to whole vectors. The last byte of the first digit is the
shift at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.digit_line import RADIX_BITS, digits_of, find_line
from codegen.arithmetic.one_multiply_search import Line, RequantizedChannel, Rescale, WeightedSum
from codegen.graph.graph import IntArray
from codegen.kernels.weighted_layer import WeightedLayer
from codegen.program.kernel import BLOCK_PX, Table

START_VALUE = -128
HEAD = 4  # vectors: START_VALUE; the stored zero; what columns behind the last one are clamped to, low and high
MAX_DIGITS = 4
QACC_LOW, QACC_HIGH = -(2**19), 2**19 - 1
_MAX_FACTOR = 1 << 24
_MAX_SHIFT = 31


@dataclass(frozen=True)
class Digits:
    """The shape of a kernel's sums. `starts` by digit, the lowest first."""

    taps: int
    starts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def vectors(self) -> int:
        """Of the table, for one digit of one unit."""
        return -(-(self.taps + max(self.starts) + 1) // BLOCK_PX)

    @property
    def shift_lane(self) -> int:
        return self.vectors * BLOCK_PX - 1

    @property
    def unit_bytes(self) -> int:
        return self.count * self.vectors * BLOCK_PX

    def table_bytes(self, units: int) -> int:
        """Of one phase."""
        return HEAD * BLOCK_PX + units * self.unit_bytes


@dataclass(frozen=True)
class _Unit:
    """Digits of one unit: (digits, taps) and (digits, starts)."""

    taps: IntArray
    starts: IntArray
    shift: int


def build_digits(layer: WeightedLayer, units: IntArray, phases: int, edge_lane: int) -> tuple[Digits, Table] | None:
    """Make the table of a layer, or None where a channel has no line, or too many digits, or sums that do not fit.

    `units`: weights (phases, channels, units of a channel, taps). `edge_lane`: the lane of the last column, whose right
    neighbour is beyond the edge although it lies in the same vector; none where it is the last lane.
    """
    channels = _channels(layer)
    if channels is None:
        return None
    for count in range(1, MAX_DIGITS + 1):
        scaled = [_scaled(channel, units[:, c], count) for c, channel in enumerate(channels)]
        found = [channel for channel in scaled if channel is not None]
        if len(found) == len(channels):
            return _assemble(layer, found, units, count, phases, edge_lane)
    return None


def _channels(layer: WeightedLayer) -> list[RequantizedChannel] | None:
    scaling, zero, found = layer.scaling, layer.stored_zero, []
    limits = scaling.low - scaling.output_zero_point, scaling.high - scaling.output_zero_point
    for c, taps in enumerate(layer.taps.T):
        start = int(scaling.bias[c]) - zero * int(taps.sum())
        exact = Rescale(start, int(scaling.multiplier[c]), int(scaling.shift[c]), *limits)
        sums = WeightedSum.of_weights(taps, layer.input.low, layer.input.high)
        line = find_line(exact, sums, scaling.output_zero_point, -START_VALUE, _MAX_FACTOR)
        if line is None:
            return None
        found.append(RequantizedChannel(exact, sums, line))
    return found


def _scaled(channel: RequantizedChannel, weights: IntArray, count: int) -> RequantizedChannel | None:
    """The channel with a line that ends behind the last digit, or None where so many digits do not hold its weights."""
    line = channel.found
    assert isinstance(line, Line)
    line = line.scaled(max((count - 1) * RADIX_BITS - line.shift, 0))
    fits = digits_of(weights * line.factor, count) is not None
    within = line.shift - (count - 1) * RADIX_BITS <= _MAX_SHIFT
    return RequantizedChannel(channel.exact, channel.sums, line) if fits and within else None


def _assemble(
    layer: WeightedLayer,
    channels: Sequence[RequantizedChannel],
    units: IntArray,
    count: int,
    phases: int,
    edge_lane: int,
) -> tuple[Digits, Table] | None:
    lines = [channel.found for channel in channels]
    starts = [_start_digits(line, count) for line in lines if isinstance(line, Line)]
    highest = max(-(-abs(int(start[-1])) // 127) for start in starts)
    digits = Digits(units.shape[-1], (*(1,) * (count - 1), max(highest, 1)))
    head = np.full((HEAD, BLOCK_PX), START_VALUE, np.int64)
    head[1] = layer.stored_zero
    head[2] = 127
    if edge_lane < BLOCK_PX - 1:
        head[2, edge_lane], head[3, edge_lane] = layer.stored_zero, layer.stored_zero
    parts = []
    for phase in range(phases):
        parts.append(head.reshape(-1))
        for c, line in enumerate(lines):
            assert isinstance(line, Line)
            shift = line.shift - (count - 1) * RADIX_BITS
            for weights in units[phase, c]:
                weight_digits = digits_of(weights * line.factor, count)
                assert weight_digits is not None
                parts.append(_bytes_of(digits, weight_digits, starts[c], shift))
    values = np.concatenate(parts).astype(np.int8)
    table = Table("digits", values, BLOCK_PX, phases, tuple(channels), is_aligned=True)
    return None if next(overflows(digits, table), None) else (digits, table)


def _start_digits(line: Line, count: int) -> IntArray:
    """Balanced digits of the start in START_VALUEs, of which the highest holds all that is left."""
    rest, found = line.offset // START_VALUE, []
    for _ in range(count - 1):
        found.append(((rest + 128) & 255) - 128)
        rest = (rest - found[-1]) >> RADIX_BITS
    return np.array([*found, rest], np.int64)


def _bytes_of(digits: Digits, weights: IntArray, starts: IntArray, shift: int) -> npt.NDArray[np.int64]:
    lanes = np.zeros((digits.count, digits.vectors * BLOCK_PX), np.int64)
    lanes[:, : digits.taps] = weights
    for digit, (count, start) in enumerate(zip(digits.starts, starts.tolist(), strict=True)):
        shares = [(start + i) // count for i in range(count)]  # as even as they can be
        lanes[digit, digits.taps : digits.taps + count] = shares
    lanes[0, -1] = shift
    return lanes.reshape(-1)


def units_of(digits: Digits, table: Table) -> Iterator[_Unit]:
    """Read the table back, phase by phase."""
    for phase in np.split(table.values.astype(np.int64), table.phases):
        for unit in phase[HEAD * BLOCK_PX :].reshape(-1, digits.count, digits.vectors * BLOCK_PX):
            end = digits.taps + max(digits.starts)
            yield _Unit(unit[:, : digits.taps], unit[:, digits.taps : end], int(unit[0, -1]))


def overflows(digits: Digits, table: Table) -> Iterator[str]:
    """Name the units of which a partial sum, in any order of additions, does not fit a lane of 20 bits."""
    for number, unit in enumerate(units_of(digits, table)):
        low = high = 0
        for taps, starts in zip(unit.taps, unit.starts, strict=True):
            products = np.outer(taps, [-128, 127])
            fixed = starts * START_VALUE
            lowest = (low >> RADIX_BITS) + products.min(1).sum() + np.minimum(fixed, 0).sum()
            highest = (high >> RADIX_BITS) + products.max(1).sum() + np.maximum(fixed, 0).sum()
            if lowest < QACC_LOW or highest > QACC_HIGH:
                yield f"unit {number}: sums within {int(lowest)} .. {int(highest)} do not fit 20 bits"
            total = int(fixed.sum())
            low = (low >> RADIX_BITS) + int(products.min(1).sum()) + total
            high = (high >> RADIX_BITS) + int(products.max(1).sum()) + total


def differences(digits: Digits, table: Table, units_of_channel: int) -> tuple[str, ...]:
    """Compare what the table's bytes add up to with the lines that are certified, channel by channel."""
    wrong = list(overflows(digits, table))
    powers = 1 << RADIX_BITS * np.arange(digits.count)
    for number, unit in enumerate(units_of(digits, table)):
        channel = table.channels[number // units_of_channel % len(table.channels)]
        line = channel.found
        assert isinstance(line, Line)
        weights = powers @ unit.taps
        offset = START_VALUE * int(powers @ unit.starts.sum(1))
        if (offset, unit.shift + (digits.count - 1) * RADIX_BITS) != (line.offset, line.shift):
            wrong.append(f"unit {number}: starts at {offset} and is shifted by {unit.shift}, which is not its line")
        if line.factor and (weights % line.factor).any():
            wrong.append(f"unit {number}: weights are no multiples of the line's factor {line.factor}")
        reach = np.outer(weights, [-128, 127])
        low, high = int(reach.min(1).sum()), int(reach.max(1).sum())
        if low < line.factor * channel.sums.low or high > line.factor * channel.sums.high:
            wrong.append(f"unit {number}: sums reach further than those that are certified")
    return tuple(wrong)
