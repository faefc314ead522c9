"""Row kernels for any window: any size, stride, dilation and padding, requantized by one multiply where that is exact.

Output columns are computed in blocks, so that a weight is loaded once for several pixels. Interior columns, whose
windows lie inside the image's width, are a loop over such blocks; those at the two borders have code of their own.
What lies outside the image has the value of the stored zero. The start value of each sum takes the zero point away
again (`one_multiply.finish_of`), so that such taps contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.kernels.convolution import Convolution
from codegen.kernels.portable.one_multiply import INT16_MAX, Finish, finish_of, stored_zero
from codegen.kernels.window import Window
from codegen.program.program import Constant, Kernel, Table

Constants = tuple[tuple[str, Constant], ...]

# Chosen by counting instructions of dense and depthwise networks on RV32 and Cortex-M4 (`nanou-deploy bench`).
MAX_SUMS = 12  # of a dense block; 16 would go to the stack
MAX_PIXELS = 6  # of a block, where so few channels are left that more would have room
MAX_DEPTHWISE_PIXELS = 4  # of one channel
MAX_PRODUCTS = 64  # of a depthwise block and window row: they are all written out


@dataclass(frozen=True)
class _Range:
    """Output columns, or channels, [first, end)."""

    first: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.first

    def even(self, limit: int) -> int:
        """The block size, at most `limit`, with which the last block overlaps the one before least; 0 for nothing."""
        return -(-self.count // -(-self.count // limit)) if self.count else 0

    def split(self, size: int) -> list[_Range]:
        return [_Range(x, min(x + size, self.end)) for x in range(self.first, self.end, size)]


def _interior(window: Window) -> _Range:
    """Columns whose windows lie inside the image's width; empty, at the end, where every window overhangs."""
    inside = (window.columns(0) >= 0) & (window.columns(window.kernel_width - 1) < window.in_width)
    columns = np.flatnonzero(inside).tolist() or [window.out_width]
    return _Range(columns[0], columns[0] + int(inside.sum()))


def conv_2d(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]]:
    """Blocks of pixels times output channels: each weight and each value is loaded once for a block.

    Without dilation the taps of a window row are adjacent bytes, and one loop runs over all of their channels.
    """
    window, target, interior = convolution.window, convolution.target, _interior(convolution.window)
    finish = finish_of(convolution)
    groups = _Range(0, convolution.out_channels).split(target.channels_per_block)
    sums = min(target.pixels_per_block * target.channels_per_block, MAX_SUMS)
    blocks = []
    for size in dict.fromkeys(group.count for group in groups):
        alike = [group for group in groups if group.count == size]
        pixels = interior.even(min(sums // size, MAX_PIXELS))
        blocks.append((size, alike[0].first, len(alike), (pixels,) * (pixels > 0)))
    numbers = [n for g in groups for row in zip(*map(finish.numbers, range(g.first, g.end)), strict=True) for n in row]
    scaled = convolution.taps * np.array(finish.factor)
    weights = np.concatenate([scaled[:, group.first : group.end].reshape(-1) for group in groups])
    borders = window.out_width - interior.count
    adjacent = window.kernel_width if window.dilation_width == 1 else 1
    constants: Constants = (
        ("spans", window.kernel_width // adjacent),
        ("span_values", adjacent * convolution.in_channels),
        ("channel_blocks", tuple(blocks)),
        ("borders", (borders,) * (borders > 0)),
        *_padding(convolution, absent_rows=_has_absent_rows(window), pixels=borders > 0),
    )
    tables = (
        Table("channels", np.array(numbers, np.int32), groups[0].count, channels=finish.channels),
        _weights_table(weights, 16),
    )
    return _kernel(convolution, constants, finish, tables)


def depthwise_conv_2d(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]]:
    """Channel by channel: a window row's weights stay in registers, each value is loaded once for a block."""
    window, interior = convolution.window, _interior(convolution.window)
    finish = finish_of(convolution)
    pixels = max(1, min(MAX_DEPTHWISE_PIXELS, MAX_PRODUCTS // window.kernel_width))
    taps = range(window.kernel_width)
    looped = interior.split(interior.even(pixels))[:1] if interior.count else []
    borders = [*_Range(0, interior.first).split(pixels), *_Range(interior.end, window.out_width).split(pixels)]
    weights = (convolution.taps * np.array(finish.factor)).T.reshape(-1)
    zero, moving = stored_zero(convolution), "(x - INTERIOR_FIRST) * STRIDE_WIDTH * IN_CHANNELS + "
    # With a dilation wider than the image, an even window can miss every pixel.
    meets = any(0 <= column < window.in_width for tap in taps for column in window.columns(tap))
    constants: Constants = (
        ("depth_multiplier", convolution.out_channels // convolution.in_channels),
        *_padding(convolution, absent_rows=meets and _has_absent_rows(window), pixels=False),
        ("read", ("channel / DEPTH_MULTIPLIER",) * meets),
        ("unread", ("rows",) * (not meets)),
        ("interior_blocks", tuple(_block(window, block, zero, moving) for block in looped)),
        ("border_blocks", tuple((block.first, *_block(window, block, zero, "")) for block in borders)),
    )
    return _kernel(convolution, constants, finish, (finish.table(), _weights_table(weights, window.kernel_width)))


def _block(window: Window, block: _Range, zero: int, origin: str) -> tuple[Constant, ...]:
    """(pixels, what to do for each window row): which taps meet which values, for a block of output columns.

    The latter is empty where no tap contributes, else one tuple of: the taps used; C that finds the block's values,
    empty where there are none; of each input column (column, ((pixel, tap), ...)); and of each pixel with overhanging
    taps, unless real 0 is stored as 0, (pixel, "weight_0 + weight_1", stored zero).
    """
    inside: dict[int, list[tuple[int, int]]] = {}
    outside: dict[int, list[int]] = {}
    for tap in range(window.kernel_width):
        for pixel, column in enumerate(window.columns(tap)[block.first : block.end].tolist()):
            if 0 <= column < window.in_width:
                inside.setdefault(column, []).append((pixel, tap))
            elif zero:
                outside.setdefault(pixel, []).append(tap)
    columns = tuple((column, tuple(sorted(inside[column]))) for column in sorted(inside))
    padding = tuple((p, " + ".join(f"weight_{tap}" for tap in taps), zero) for p, taps in sorted(outside.items()))
    taps = {tap for products in inside.values() for _, tap in products}.union(*outside.values())
    return block.count, ((tuple(sorted(taps)), (origin,) * bool(columns), columns, padding),) * bool(taps)


def _has_absent_rows(window: Window) -> bool:
    return any(not 0 <= row < window.in_height for read in window.reads for row in read.rows)


def _padding(convolution: Convolution, *, absent_rows: bool, pixels: bool) -> Constants:
    """A row of stored zeros for what the kernel reads outside the image, if it does: rows, or single pixels."""
    padding: Constants = (("padding", stored_zero(convolution)),) if absent_rows or pixels else ()
    return (
        *padding,
        ("source", "source" if absent_rows else "rows"),
        ("absent_rows", (convolution.window.kernel_height,) * absent_rows),
    )


def _weights_table(weights: IntArray, per_line: int) -> Table:
    """int16 where all weights fit."""
    narrow = np.abs(weights).max(initial=0) <= INT16_MAX
    return Table("weights", weights.astype(np.int16) if narrow else weights.astype(np.int32), per_line)


def _kernel(
    convolution: Convolution, constants: Constants, finish: Finish, tables: tuple[Table, ...]
) -> tuple[Kernel, tuple[Table, ...]]:
    """The kernel of the operator's own name."""
    interior = _interior(convolution.window)
    geometry: Constants = (
        ("in_channels", convolution.in_channels),
        ("out_channels", convolution.out_channels),
        *convolution.window.constants,
        ("interior_first", interior.first),
        ("interior_end", interior.end),
    )
    parameters = tuple((table.name, f"{table.values.dtype.name}_t") for table in tables)
    kernel = Kernel(
        convolution.operator.stem,
        convolution.shape_name,
        (*geometry, *constants, *finish.constants),
        parameters,
        convolution.input,
        convolution.output,
    )
    return kernel, tables
