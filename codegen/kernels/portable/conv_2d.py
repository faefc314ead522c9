"""Compute a convolution with any window, stride, dilation and padding, in blocks of pixels times output channels.

Interior columns, whose windows lie inside the image's width, are a loop over blocks of pixels; those at the two borders
are computed one by one. What lies outside the image has the value of the stored zero. The start value of each sum takes
the zero point away again (`codegen.kernels.epilogue`), so that such taps contribute nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.blocks import Blocks, blocks_of, even_size
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import weights_table
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target

# Chosen by counting instructions of dense networks on RV32 and Cortex-M4 (`nanou-deploy bench`).
MAX_SUMS = 12  # of a block; 16 would go to the stack
MAX_PIXELS = 6  # of a block, where so few channels are left that more would have room


@dataclass(frozen=True, kw_only=True)
class Conv2D(Kernel):
    """`interior_pixels`: of a block of interior columns, for each of `channel_blocks`; 0 where there are none.

    `padding`: the stored zero, where a tap beside, above or below the image reads a row of it.
    """

    window: RowWindow
    in_channels: int
    out_channels: int
    channel_blocks: tuple[Blocks, ...]
    interior_pixels: tuple[int, ...]
    has_absent_rows: bool
    padding: int | None
    epilogue: Epilogue

    never_inlined = True

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    @property
    def padding_value(self) -> int | None:
        return self.padding

    @property
    def interior(self) -> range:
        return self.window.interior

    @property
    def borders(self) -> int:
        """Columns whose windows overhang."""
        return self.window.out_width - len(self.interior)

    @property
    def spans(self) -> int:
        """Of adjacent values in a window row: without dilation, one of all taps and channels."""
        return 1 if self.window.dilation_width == 1 else self.window.kernel_width

    @property
    def span_values(self) -> int:
        return self.window.kernel_width // self.spans * self.in_channels

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.in_channels
        padding = 0 if all(present) else row
        if self.borders:  # a tap beside the image takes the first pixel of the padding row
            padding = max(padding, self.in_channels)
        channels = sum(blocks.size * blocks.count for blocks in self.channel_blocks)
        weights = channels * self.window.kernel_height * self.spans * self.span_values
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=() if self.has_absent_rows or not row else tuple(range(len(present))),
            output=self.window.out_width * self.out_channels,
            tables={"channels": channels * self.epilogue.numbers, "weights": weights},
            padding=padding,
        )


def applies(layer: Convolution, target: Target) -> bool:
    return True


def build(layer: Convolution, target: Target) -> Built:
    requantizer, window = choose_requantizer(layer, target), layer.window.row
    scaled = layer.taps * requantizer.factor
    channel_blocks = blocks_of(layer.out_channels, target.channels_per_block)
    spans = [span for blocks in channel_blocks for span in blocks.spans]
    weights = np.concatenate([scaled[:, span.start : span.stop].reshape(-1) for span in spans])
    sums = min(target.pixels_per_block * target.channels_per_block, MAX_SUMS)
    interior = len(window.interior)
    absent_rows = layer.window.has_absent_rows
    tables = requantizer.table_of_blocks(spans), weights_table(weights, 16)
    kernel = Conv2D(
        inputs=(layer.input,),
        output=layer.output,
        tables=parameters_of(tables),
        shape_name=layer.width_name + window.name,
        window=window,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        channel_blocks=channel_blocks,
        interior_pixels=tuple(even_size(interior, min(sums // blocks.size, MAX_PIXELS)) for blocks in channel_blocks),
        has_absent_rows=absent_rows,
        padding=layer.stored_zero if absent_rows or interior < window.out_width else None,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
