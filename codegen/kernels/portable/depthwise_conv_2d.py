"""Compute a depthwise convolution with any window by channel: a window row's weights stay in registers.

Each value is loaded once for a block of output columns. Interior columns, whose windows lie inside the image's width,
are a loop over such blocks; those at the two borders have code of their own, in which taps beside the image are the
stored zero times their weights. The start value of each sum takes the zero point away again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.blocks import even_size, split
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import weights_table
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target

# Chosen by counting instructions of depthwise networks on RV32 and Cortex-M4 (`nanou-deploy bench`).
MAX_PIXELS = 4  # of one channel
MAX_PRODUCTS = 64  # of a block and window row: they are all written out


@dataclass(frozen=True)
class InputColumn:
    """One value, and which sums it is added to by which weight: pairs of pixel of the block and tap of the row."""

    column: int
    products: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class OverhangingPixel:
    """A pixel of a block, and the taps of its window row that lie beside the image."""

    pixel: int
    taps: tuple[int, ...]


@dataclass(frozen=True)
class ColumnBlock:
    """Output columns [first, first + pixels): which taps meet which input columns, and which meet padding."""

    first: int
    pixels: int
    columns: tuple[InputColumn, ...]
    overhanging: tuple[OverhangingPixel, ...]

    @property
    def taps(self) -> tuple[int, ...]:
        """Those that contribute."""
        inside = {tap for column in self.columns for _, tap in column.products}
        return tuple(sorted(inside.union(*(pixel.taps for pixel in self.overhanging))))


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(Kernel):
    """`interior`: the first block of interior columns, which a loop repeats; None where every window overhangs."""

    window: RowWindow
    in_channels: int
    out_channels: int
    interior: ColumnBlock | None
    borders: tuple[ColumnBlock, ...]
    has_absent_rows: bool  # and reads them
    zero: int  # the stored one
    epilogue: Epilogue

    never_inlined = True

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    @property
    def padding_value(self) -> int | None:
        return self.zero if self.has_absent_rows else None

    @property
    def depth_multiplier(self) -> int:
        return self.out_channels // self.in_channels

    @property
    def interior_end(self) -> int:
        return self.window.interior.stop

    @property
    def has_overhanging_taps(self) -> bool:
        return any(block.overhanging for block in self.borders)

    @property
    def reads_rows(self) -> bool:
        """With a dilation wider than the image, an even window can miss every pixel."""
        return self.interior is not None or any(block.columns for block in self.borders)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.in_channels
        taps = self.window.kernel_height * self.window.kernel_width
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=() if self.has_absent_rows or not row else tuple(range(len(present))),
            output=self.window.out_width * self.out_channels,
            tables={"channels": self.out_channels * self.epilogue.numbers, "weights": self.out_channels * taps},
            padding=0 if all(present) else row,
        )


def applies(layer: Convolution, target: Target) -> bool:
    return True


def build(layer: Convolution, target: Target) -> Built:
    requantizer, window, zero = choose_requantizer(layer, target), layer.window.row, layer.stored_zero
    interior = window.interior
    pixels = max(1, min(MAX_PIXELS, MAX_PRODUCTS // window.kernel_width))
    looped = [_block(window, block, zero) for block in split(interior, even_size(len(interior), pixels) or 1)[:1]]
    sides = range(interior.start), range(interior.stop, window.out_width)
    borders = [_block(window, block, zero) for side in sides for block in split(side, pixels)]
    meets = any(block.columns for block in (*looped, *borders))
    weights = (layer.taps * requantizer.factor).T
    tables = requantizer.table(), weights_table(weights, window.kernel_width)
    kernel = DepthwiseConv2D(
        inputs=(layer.input,),
        output=layer.output,
        tables=parameters_of(tables),
        shape_name=layer.width_name + window.name,
        window=window,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        interior=looped[0] if looped else None,
        borders=tuple(borders),
        has_absent_rows=meets and layer.window.has_absent_rows,
        zero=zero,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)


def _block(window: RowWindow, block: range, zero: int) -> ColumnBlock:
    inside: dict[int, list[tuple[int, int]]] = {}
    outside: dict[int, list[int]] = {}
    for tap in range(window.kernel_width):
        for pixel, column in enumerate(window.columns(tap)[block.start : block.stop].tolist()):
            if 0 <= column < window.in_width:
                inside.setdefault(column, []).append((pixel, tap))
            elif zero:  # where real 0 is stored as 0, such taps contribute nothing as it is
                outside.setdefault(pixel, []).append(tap)
    return ColumnBlock(
        block.start,
        len(block),
        tuple(InputColumn(column, tuple(sorted(inside[column]))) for column in sorted(inside)),
        tuple(OverhangingPixel(pixel, tuple(taps)) for pixel, taps in sorted(outside.items())),
    )
