"""Fold requantization into weights, digit by digit (codegen.arithmetic.digit_line), as the vector kernels add them up.

A unit is what gives one vector of 16 results: an output channel, or one parity of its columns where it is upsampled.
For each digit its kernel multiplies `taps` vectors of values by the unit's weights and a vector of START_VALUE by
`starts` numbers, all in lanes of 20 bits. The table begins with the vectors of HEAD; then come, for each unit and
digit, the weights and the starts, one byte each, filled up to whole vectors. The last byte of the first digit is the
shift at the end.

Where all scales are powers of two, weights are one digit as they are, and before it comes one of starts alone: it gives
what multiples of START_VALUE cannot, and multiplies no values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.digit_line import digits_of, find_line
from codegen.arithmetic.one_multiply_search import Line, RequantizedChannel, Rescale, WeightedSum
from codegen.graph.graph import IntArray
from codegen.kernels.weighted_layer import WeightedLayer
from codegen.program.kernel import BLOCK_PX, Table

START_VALUE = -128
HEAD = 4  # vectors: START_VALUE; the stored zero; what columns behind the last one are clamped to, low and high
MAX_DIGITS = 8
DIGIT_BITS = (8, 7, 6, 5, 4)
# A lane's 20 bits end at -2^19 by the manual. Espressif's emulator keeps lanes above; so no sum takes that value.
QACC_LOW, QACC_HIGH = -(2**19) + 1, 2**19 - 1
_MAX_FACTOR = 1 << 28
_POWER_BITS = 7  # of a digit without weights: START_VALUE, shifted by them, is -1
MAX_SHIFT = 31  # the unit takes five bits
MAX_STARTS = 64
ANY_VECTORS = 1 << 16


@dataclass(frozen=True)
class Digits:
    """The shape of a kernel's sums: digits of `bits`, fewer where many products are added, and `starts` of each one.

    The first `bare` digits have no weights but 0, and their kernel multiplies no values.
    """

    taps: int
    bits: int
    starts: tuple[int, ...]
    bare: int = 0

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


@dataclass(frozen=True, eq=False)
class Sums:
    """What a table adds up in n units or lanes: digits of weights (digits, taps, n) and of starts (digits, starts, n).

    `shifts` (n): by how much each sum is shifted at the end.
    """

    taps: IntArray
    starts: IntArray
    shifts: IntArray


def build_digits(
    layer: WeightedLayer,
    units: IntArray,
    edge_lane: int,
    most_vectors: int = ANY_VECTORS,
    channels: Sequence[RequantizedChannel] | None = None,
) -> tuple[Digits, Table] | None:
    """Make the table of a layer, or None where a channel has no line, or too many digits, or sums that do not fit.

    `units`: weights (phases, channels, units of a channel, taps). `edge_lane`: the lane of the last column, whose right
    neighbour is beyond the edge although it lies in the same vector; none where it is the last lane. `most_vectors`: of
    the table, that one digit of one unit may take. `channels`: by default those of the layer.
    """
    channels = lines_of(layer) if channels is None else channels
    if channels is None:
        return None
    if powers := _powers(channels, units):
        made = _assemble(layer, powers, units, (2, _POWER_BITS), edge_lane, bare=1)
        if made is not None and made[0].vectors <= most_vectors:
            return made
    for count, bits in itertools.product(range(1, MAX_DIGITS + 1), DIGIT_BITS):
        scaled = (_scaled(channel, units[:, c], count, bits) for c, channel in enumerate(channels))
        fitting = [one for one in itertools.takewhile(lambda one: one is not None, scaled) if one is not None]
        made = _assemble(layer, fitting, units, (count, bits), edge_lane) if len(fitting) == len(channels) else None
        if made is not None and made[0].vectors <= most_vectors:
            return made
    return None


def lines_of(layer: WeightedLayer) -> list[RequantizedChannel] | None:
    """Find the line of each output channel; None where one has none."""
    return _lines(layer, (layer.scaling.output_zero_point,), (layer.scaling.low, layer.scaling.high))


def halves_of(layer: WeightedLayer) -> list[RequantizedChannel] | None:
    """Find two lines for each output channel, of its positive and of its negative results; None where one has none.

    A result r is max(r, 0) + min(r, 0), which are stored with zero points -128 and 127. TFLite rounds away from 0,
    which is a line on either side, and none across.
    """
    return _lines(layer, (-128, 127), (-128, 127)) if (layer.scaling.low, layer.scaling.high) == (-128, 127) else None


def _lines(
    layer: WeightedLayer, zero_points: tuple[int, ...], stored: tuple[int, int]
) -> list[RequantizedChannel] | None:
    scaling, zero, found = layer.scaling, layer.stored_zero, []
    for c, taps in enumerate(layer.taps.T):
        start = int(scaling.bias[c]) - zero * int(taps.sum())
        sums = WeightedSum.of_weights(taps, layer.input.low, layer.input.high)
        for zero_point in zero_points:
            limits = stored[0] - zero_point, stored[1] - zero_point
            exact = Rescale(start, int(scaling.multiplier[c]), int(scaling.shift[c]), *limits)
            line = find_line(exact, sums, zero_point, -START_VALUE, _MAX_FACTOR)
            if line is None:
                return None
            found.append(RequantizedChannel(exact, sums, line))
    return found


def _powers(channels: Sequence[RequantizedChannel], units: IntArray) -> list[RequantizedChannel]:
    """Scale lines whose factors are powers of two to one factor, a whole digit; empty where one is none, or too large.

    Weights that are added up, as those of upsampled columns, may not fit the digit that they are then.
    """
    found = []
    for channel in channels:
        line = channel.found
        assert isinstance(line, Line)
        if line.factor & (line.factor - 1) or line.factor >> _POWER_BITS > 1:
            return []
        scaled = line.scaled(_POWER_BITS + 1 - line.factor.bit_length() if line.factor else _POWER_BITS)
        found.append(RequantizedChannel(channel.exact, channel.sums, scaled))
    within = max(channel.found.shift for channel in found if isinstance(channel.found, Line)) <= MAX_SHIFT + _POWER_BITS
    return found if within and units.min() >= -128 and units.max() <= 127 else []


def _scaled(channel: RequantizedChannel, weights: IntArray, count: int, bits: int) -> RequantizedChannel | None:
    """Scale the channel's line to end behind the last digit; None where so many digits do not hold its weights."""
    line = channel.found
    assert isinstance(line, Line)
    line = line.scaled(max((count - 1) * bits - line.shift, 0))
    highest = digits_of(weights * line.factor, count, bits)[-1]
    fits = highest.min() >= -128 and highest.max() <= 127
    within = line.shift - (count - 1) * bits <= MAX_SHIFT
    return RequantizedChannel(channel.exact, channel.sums, line) if fits and within else None


def _assemble(
    layer: WeightedLayer,
    channels: Sequence[RequantizedChannel],
    units: IntArray,
    form: tuple[int, int],
    edge_lane: int,
    bare: int = 0,
) -> tuple[Digits, Table] | None:
    count, bits = form
    lines = [channel.found for channel in channels]
    in_starts = np.array([line.offset // START_VALUE for line in lines if isinstance(line, Line)])
    starts = digits_of(in_starts, count, bits).T
    highest = max(-(-abs(int(start[-1])) // 127) for start in starts)
    if highest > MAX_STARTS:
        return None
    digits = Digits(units.shape[-1], bits, (*(1,) * (count - 1), max(highest, 1)), bare)
    head = np.full((HEAD, BLOCK_PX), START_VALUE, np.int64)
    head[1] = layer.stored_zero
    head[2] = 127
    if edge_lane < BLOCK_PX - 1:
        head[2, edge_lane], head[3, edge_lane] = layer.stored_zero, layer.stored_zero
    parts = []
    for phase in range(len(units)):
        parts.append(head.reshape(-1))
        for c, line in enumerate(lines):
            assert isinstance(line, Line)
            shift = line.shift - (count - 1) * bits
            for weights in units[phase, c]:
                parts.append(_bytes_of(digits, digits_of(weights * line.factor, count, bits), starts[c], shift))
    values = np.concatenate(parts).astype(np.int8)
    table = Table("digits", values, BLOCK_PX, len(units), tuple(channels), is_aligned=True)
    return None if overflows("unit", sums_of(digits, table), bits) else (digits, table)


def _bytes_of(digits: Digits, weights: IntArray, starts: IntArray, shift: int) -> npt.NDArray[np.int64]:
    lanes = np.zeros((digits.count, digits.vectors * BLOCK_PX), np.int64)
    lanes[:, : digits.taps] = weights
    for digit, (count, start) in enumerate(zip(digits.starts, starts, strict=True)):
        lanes[digit, digits.taps : digits.taps + count] = even_shares(start, count)
    lanes[0, -1] = shift
    return lanes.reshape(-1)


def even_shares(totals: IntArray, count: int) -> IntArray:
    """Divide totals (...) into (count, ...) integers each, as even as they can be."""
    return np.stack([(totals + i) // count for i in range(count)])


def sums_of(digits: Digits, table: Table) -> Sums:
    """Read the table back, phase by phase."""
    phases = table.values.astype(np.int64).reshape(table.phases, -1)[:, HEAD * BLOCK_PX :]
    units = phases.reshape(-1, digits.count, digits.vectors * BLOCK_PX)
    by_digit, end = units.transpose(1, 2, 0), digits.taps + max(digits.starts)
    return Sums(by_digit[:, : digits.taps], by_digit[:, digits.taps : end], units[:, 0, -1])


def partial_sums(taps: IntArray, starts: IntArray, bits: int, values: int = 1) -> tuple[IntArray, IntArray]:
    """Bound what each digit's sum can be, in whatever order it is added up: (digits, ...), least and most.

    `taps` (digits, taps, ...) are each multiplied by `values` values of -128 .. 127, `starts` (digits, starts, ...) by
    START_VALUE.
    """
    low = high = np.zeros(taps.shape[2:], np.int64)
    lowest, highest = [], []
    for weights, of_starts in zip(taps, starts, strict=True):
        products, fixed = np.sort(weights[..., None] * np.array([-128, 127])) * values, of_starts * START_VALUE
        low, high = (low >> bits) + products[..., 0].sum(0), (high >> bits) + products[..., 1].sum(0)
        lowest.append(low + np.minimum(fixed, 0).sum(0))
        highest.append(high + np.maximum(fixed, 0).sum(0))
        low, high = low + fixed.sum(0), high + fixed.sum(0)
    return np.stack(lowest), np.stack(highest)


def too_wide(what: str, lowest: IntArray, highest: IntArray) -> list[str]:
    """Name those of which a partial sum does not fit a lane of 20 bits."""
    wide = np.flatnonzero((lowest < QACC_LOW) | (highest > QACC_HIGH))
    return [f"{what} {i}: sums within {lowest[i]} .. {highest[i]} do not fit 20 bits" for i in wide]


def wrong_shifts(what: str, shifts: IntArray) -> list[str]:
    """Name those that are shifted by more than the unit can."""
    wrong = np.flatnonzero((shifts < 0) | (shifts > MAX_SHIFT))
    return [f"{what} {i}: is shifted by {shifts[i]}, not by 0 .. {MAX_SHIFT}" for i in wrong]


def overflows(what: str, sums: Sums, bits: int) -> list[str]:
    """Name the units or lanes of which a partial sum, in any order of additions, does not fit 20 bits."""
    lowest, highest = partial_sums(sums.taps, sums.starts, bits)
    return too_wide(what, lowest.min(0), highest.max(0))


def differences(digits: Digits, table: Table, units_of_channel: int) -> tuple[str, ...]:
    """Compare what the table's bytes add up to with the lines that are certified, channel by channel."""
    sums = sums_of(digits, table)
    channels = [table.channels[i // units_of_channel % len(table.channels)] for i in range(len(sums.shifts))]
    multiplied = np.flatnonzero(sums.taps[: digits.bare].any((0, 1)))
    wrong = [f"unit {i}: weights where no values are multiplied" for i in multiplied]
    return (*wrong, *differences_of_lines("unit", sums, digits.bits, channels))


def differences_of_lines(what: str, sums: Sums, bits: int, channels: Sequence[RequantizedChannel]) -> tuple[str, ...]:
    """Compare sums with certified lines, of one channel each; lanes behind the last channel are nobody's."""
    wrong = overflows(what, sums, bits) + wrong_shifts(what, sums.shifts)
    powers = 1 << bits * np.arange(len(sums.taps))
    weights, offsets = np.tensordot(powers, sums.taps, 1), START_VALUE * (powers @ sums.starts.sum(1))
    shifts = sums.shifts + (len(powers) - 1) * bits
    products = np.sort(weights[..., None] * np.array([-128, 127]))
    low, high = products[..., 0].sum(0), products[..., 1].sum(0)
    for i, channel in enumerate(channels):
        line = channel.found
        assert isinstance(line, Line)
        if (offsets[i], shifts[i]) != (line.offset, line.shift):
            wrong.append(f"{what} {i}: starts at {offsets[i]} and is shifted by {shifts[i]}, which is not its line")
        if line.factor and (weights[:, i] % line.factor).any():
            wrong.append(f"{what} {i}: weights are no multiples of the line's factor {line.factor}")
        if low[i] < line.factor * channel.sums.low or high[i] > line.factor * channel.sums.high:
            wrong.append(f"{what} {i}: sums reach further than those that are certified")
    return tuple(wrong)
