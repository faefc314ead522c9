"""Fast row kernels: pointwise in register blocks, depthwise 3x3 in running sums, requantized by one multiply.

The factor c of each channel (codegen.arithmetic.one_multiply_search) is folded into its weights, zero point and bias
into the start value of its sum. A layer that has no such factors keeps the same loops and ends in the exact 64-bit form
instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codegen.arithmetic.one_multiply_search import (
    MAX_SHIFT,
    HighMul,
    RequantizedChannel,
    Rescale,
    WeightedSum,
    find_layer,
)
from codegen.arithmetic.requantize import INT32_MAX
from codegen.graph.graph import IntArray
from codegen.kernels.convolution import Convolution
from codegen.program.program import Constant, Kernel, Table

INT16_MAX = 32767
Channel = tuple[Rescale, WeightedSum]


@dataclass(frozen=True)
class Finish:
    """What becomes of a channel's sum, for a whole layer.

    Each channel multiplies its weights by `factor` and has a row of numbers in the table: the sum's start value first,
    then `columns`. `adjust` and `result` are C, with {sum} and {c0}, {c1} (columns) to be filled in.
    """

    factor: tuple[int, ...]
    start: tuple[int, ...]
    columns: Mapping[str, tuple[int, ...]]  # by name, then channel
    adjust: tuple[str, ...]
    result: str
    channels: tuple[RequantizedChannel, ...]

    @property
    def constants(self) -> tuple[tuple[str, Constant], ...]:
        names = " and ".join(self.columns)
        c0, c1 = (*(name.replace(" ", "_") for name in self.columns), "")[:2]
        numbers = ("columns", len(self.columns)), ("column_names", names), ("c0", c0), ("c1", c1)
        return (*numbers, ("adjust", self.adjust), ("result", self.result))

    def numbers(self, channel: int) -> list[int]:
        return [self.start[channel], *(column[channel] for column in self.columns.values())]

    def table(self) -> Table:
        """Channel after channel."""
        rows = [self.numbers(channel) for channel in range(len(self.start))]
        return Table("channels", np.array(rows, np.int32).reshape(-1), 1 + len(self.columns), channels=self.channels)


def finish_of(
    convolution: Convolution,
    largest_weights: Sequence[int] = (),
    max_weights: Sequence[int] = (INT16_MAX, INT32_MAX),
) -> Finish:
    """The cheapest exact form: one multiply (and a shift), the same with a sign correction, 64-bit double rounding.

    `largest_weights` by channel, where the kernel's weights are sums of taps; `max_weights` by preference.
    `accumulator_bound` covers the last form too, although it adds stored values to a folded start: 0 is a value that
    every tap can have, so each partial sum is the final sum of some input.
    """
    scaling, stored, zero = convolution.scaling, convolution.input, stored_zero(convolution)
    # sum(w * (stored - zero)) + bias == sum(w * stored) + (bias - zero * sum(w))
    start = [int(b) - zero * int(w.sum()) for b, w in zip(scaling.bias, convolution.taps.T, strict=True)]
    limits = scaling.low - scaling.output_zero_point, scaling.high - scaling.output_zero_point
    channels = [
        (
            Rescale(start[c], int(scaling.multiplier[c]), int(scaling.shift[c]), *limits),
            WeightedSum.of_weights(weights, stored.low, stored.high),
        )
        for c, weights in enumerate(convolution.taps.T)
    ]
    for c, largest in enumerate(largest_weights):
        channels[c] = channels[c][0], replace(channels[c][1], largest_weight=largest)
    # The offset of the first form is free; -1 suits the sign correction best (docs/adr/0006).
    for corrects, offset in ((False, scaling.output_zero_point + _clamp_of(convolution)[0]), (True, -1)):
        for max_weight in max_weights:
            layer = find_layer(
                channels, max_weight=max_weight, max_shift=MAX_SHIFT, sign_correction=corrects, offset=offset
            )
            if layer is not None:
                return _one_multiply(convolution, channels, layer, offset)
    return _double_rounding(convolution, channels)


def _double_rounding(convolution: Convolution, channels: Sequence[Channel]) -> Finish:
    scaling, after = convolution.scaling, convolution.output
    low, high, zero = (n + after.bias for n in (scaling.low, scaling.high, scaling.output_zero_point))
    columns = {"multiplier": tuple(scaling.multiplier.tolist()), "shift": tuple(scaling.shift.tolist())}
    result = f"({after.c_type})requantize({{sum}}, {{c0}}, {{c1}}, {zero}, {low}, {high})"
    claims = tuple(RequantizedChannel(exact, sums, None) for exact, sums in channels)
    return Finish((1,) * len(channels), tuple(exact.bias for exact, _ in channels), columns, (), result, claims)


def _one_multiply(
    convolution: Convolution, channels: Sequence[Channel], layer: Sequence[HighMul], offset: int
) -> Finish:
    """The scaled sum is the output minus its zero point plus `offset`."""
    columns, adjust = {"multiplier": tuple(channel.multiplier for channel in layer)}, []
    value, shift = "high_mul({sum}, {c0})", layer[0].shift
    if shift:
        value = f"({value} >> {shift})"
    if any(channel.sign_correction for channel in layer):
        adjust.append("{sum} += ({sum} >> 31) & {c1};")
        columns["sign correction"] = tuple(channel.sign_correction for channel in layer)
    raised, result = _clamp_of(convolution)
    if rest := convolution.scaling.output_zero_point + raised - offset:
        value = f"{value} {'+' if rest > 0 else '-'} {abs(rest)}"
    return Finish(
        tuple(channel.c for channel in layer),
        tuple(channel.b for channel in layer),
        columns,
        tuple(adjust),
        result.format(value),
        tuple(RequantizedChannel(*channel, found) for channel, found in zip(channels, layer, strict=True)),
    )


def _clamp_of(convolution: Convolution) -> tuple[int, str]:
    """What the output has to be raised by before the clamp, and the C that clamps such a value {} and stores it."""
    low, high, biased = convolution.scaling.low, convolution.scaling.high, convolution.output.bias
    if (low, high) != (-128, 127):
        clamped = f"clamp_to_range({low + 128}, {high + 128}, {{}})"
        return 128, f"(uint8_t){clamped}" if biased else f"(int8_t)({clamped} - 128)"
    if convolution.target.signed_clamp:
        return 0, "clamp_to_biased_byte({})" if biased else "(int8_t)clamp_to_int8({})"
    return 128, "clamp_to_byte({})" if biased else "(int8_t)(clamp_to_byte({}) - 128)"


def _weights_table(weights: IntArray, per_line: int) -> Table:
    """int16 where all weights fit."""
    flat = weights.reshape(-1)
    narrow = np.abs(flat).max(initial=0) <= INT16_MAX
    return Table("weights", flat.astype(np.int16) if narrow else flat.astype(np.int32), per_line)


def kernel_of(
    convolution: Convolution, template: str, constants: tuple[tuple[str, Constant], ...], tables: tuple[Table, ...]
) -> tuple[Kernel, tuple[Table, ...]]:
    width = f"{convolution.window.in_width}x{convolution.in_channels}_to_{convolution.out_channels}"
    parameters = tuple((table.name, f"{table.values.dtype.name}_t") for table in tables)
    return Kernel(template, width, constants, parameters, convolution.input, convolution.output), tables


def is_pointwise(convolution: Convolution) -> bool:
    window = convolution.window
    return (window.kernel_height, window.kernel_width, window.stride_width) == (1, 1, 1)


def pointwise(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]] | None:
    """1x1, stride 1: blocks of pixels times blocks of output channels, each weight loaded once for a block."""
    if not is_pointwise(convolution):
        return None
    finish = finish_of(convolution)
    scaled = convolution.taps * np.array(finish.factor)
    blocks = blocks_of(convolution.out_channels, convolution.target.channels_per_block)
    spans = [range(first + i * size, first + (i + 1) * size) for size, first, count in blocks for i in range(count)]
    numbers = [number for span in spans for row in zip(*map(finish.numbers, span), strict=True) for number in row]
    weights = np.concatenate([scaled[:, span.start : span.stop].reshape(-1) for span in spans])
    constants: tuple[tuple[str, Constant], ...] = (
        ("in_channels", convolution.in_channels),
        ("out_channels", convolution.out_channels),
        ("channel_blocks", tuple(blocks)),
        ("input_steps", _steps(convolution.in_channels, convolution.target.inputs_per_step)),
        *_pixel_blocks(convolution),
        *finish.constants,
    )
    tables = (
        Table("channels", np.array(numbers, np.int32), blocks[0][0], channels=finish.channels),
        _weights_table(weights, 16),
    )
    return kernel_of(convolution, "conv_2d_pointwise", constants, tables)


def _pixel_blocks(convolution: Convolution) -> tuple[tuple[str, Constant], ...]:
    """(pixels, number of blocks) along a row, and how far the last block steps back, in bytes, where it does."""
    width, target = convolution.window.out_width, convolution.target
    pixels = min(target.pixels_per_block, width)
    if target.splits_rows:
        return ("pixel_blocks", _steps(width, pixels)), ("steps_back", ())
    overlap = -width % pixels
    back = (overlap * convolution.in_channels, overlap * convolution.out_channels)
    return ("pixel_blocks", ((pixels, -(-width // pixels)),)), ("steps_back", (back,) * (overlap > 0))


def _steps(total: int, size: int) -> tuple[tuple[int, int], ...]:
    """(elements in a step, number of steps)."""
    return tuple((elements, count) for elements, _, count in blocks_of(total, size))


def blocks_of(total: int, size: int) -> list[tuple[int, int, int]]:
    """(block size, first element, number of blocks): as many whole blocks as fit, then one smaller."""
    whole, rest = divmod(total, size)
    return [(size, 0, whole)] * (whole > 0) + [(rest, whole * size, 1)] * (rest > 0)


def stored_zero(convolution: Convolution) -> int:
    """The byte, as stored, that padding of the input stands for."""
    return convolution.scaling.input_zero_point + convolution.input.bias


def is_depthwise_3x3(convolution: Convolution) -> bool:
    """3x3, stride 1, padded to the same size, one output channel for each input channel."""
    window = convolution.window
    kernel = window.kernel_height, window.kernel_width, window.dilation_height, window.dilation_width
    geometry = window.stride_height, window.stride_width, window.pad_top, window.pad_left
    same_size = (window.out_height, window.out_width) == (window.in_height, window.in_width)
    same_channels = convolution.in_channels == convolution.out_channels
    return kernel == (3, 3, 1, 1) and geometry == (1, 1, 1, 1) and same_size and same_channels


def depthwise_3x3(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]] | None:
    """Weights stay in registers, each value is loaded once for a row. None unless `is_depthwise_3x3`."""
    window = convolution.window
    if not is_depthwise_3x3(convolution) or window.in_width == 1:  # no column to the right: leave it to `windowed`
        return None
    finish = finish_of(convolution)
    weights = (convolution.taps * np.array(finish.factor)).T
    zero = stored_zero(convolution)
    tables = (finish.table(), _weights_table(weights, 9))
    constants: tuple[tuple[str, Constant], ...] = (
        ("channels", convolution.in_channels),
        ("padding", zero),
        ("borders", (zero,) if zero else ()),
        ("column_blocks", _steps(window.in_width - 1, convolution.target.columns_per_step)),
        *finish.constants,
    )
    return kernel_of(convolution, "depthwise_conv_2d_3x3", constants, tables)


def depthwise_3x3_upsampled(convolution: Convolution, factor: int) -> tuple[Kernel, tuple[Table, ...]]:
    """The same on an image of which every row stands for `factor` rows and every column for two.

    Taps that meet the same source pixel are summed beforehand: 2x2 sums instead of 3x3 products. `weights` holds, for
    each phase (output row % factor) and channel, four sums for the upper source row and four for the lower: left tap,
    middle and right, left and middle, right tap. Where all three window rows lie in one source row, the lower
    ones are 0.
    """
    sums = upsampled_sums(convolution, factor)
    finish = finish_of(convolution, np.abs(sums).max((0, 2)).tolist())
    weights = sums * np.array(finish.factor)[:, None]
    tables = (finish.table(), replace(_weights_table(weights, 8), phases=factor))
    constants: tuple[tuple[str, Constant], ...] = (
        ("channels", convolution.in_channels),
        ("padding", 0),
        ("column_blocks", _steps(convolution.window.in_width // 2 - 1, convolution.target.source_columns_per_step)),
        *finish.constants,
    )
    return kernel_of(convolution, "depthwise_conv_2d_3x3_upsampled", constants, tables)


def upsampled_sums(convolution: Convolution, factor: int) -> IntArray:
    """(phases, channels, 8): four sums of taps for the upper source row, four for the lower."""
    window, phases = convolution.taps.reshape(3, 3, -1), []
    for phase in range(factor):
        upper_rows = 1 if phase == 0 else 3 if phase < factor - 1 else 2
        split = np.stack([window[:upper_rows].sum(0), window[upper_rows:].sum(0)])
        phases.append(_column_sums(split).reshape(8, -1).T)
    return np.stack(phases)


def _column_sums(rows: IntArray) -> IntArray:
    """(rows, 3 taps, channels) -> (rows, 4, channels): left, middle + right, left + middle, right."""
    left, middle, right = rows[:, 0], rows[:, 1], rows[:, 2]
    return np.stack([left, middle + right, left + middle, right], 1)
