"""Share what kernels of dense convolutions do that read windows as adjacent bytes, in blocks of pixels times channels.

Interior columns, whose windows lie inside the image's width, read rows where they are. The windows of border columns
are copied before, pixel by pixel, with the stored zero where they overhang. Vectors of fully connected layers and
pixels of 1x1 convolutions are windows of one place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codegen.kernels.blocks import Blocks, even_size
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Kernel, Present, Table

MAX_COPIED_BYTES = 1024  # of a border column's window, on the stack


@dataclass(frozen=True, kw_only=True)
class DenseKernel(Kernel):
    """A kernel whose template prints loops by templates/aot/kernels/dense.c.j2.

    `pixels`: of a block of interior columns; 0 where there are none. `zero`: the stored one. `steps`: how a span of
    adjacent input values is divided into what one turn of the innermost loop takes.
    """

    window: RowWindow
    in_channels: int
    out_channels: int
    channel_blocks: tuple[Blocks, ...]
    pixels: int
    steps: tuple[Blocks, ...]
    has_absent_rows: bool
    zero: int
    epilogue: Epilogue

    never_inlined = True

    @property
    def padding_value(self) -> int | None:
        return self.zero if self.has_absent_rows else None

    @property
    def interior(self) -> range:
        return self.window.interior

    @property
    def borders(self) -> int:
        """Columns whose windows overhang."""
        return self.window.out_width - len(self.interior)

    @property
    def span_values(self) -> int:
        """Adjacent values of a window row."""
        return self.window.kernel_width * self.in_channels

    @property
    def numbers(self) -> int:
        """Of each channel, for requantization."""
        return self.epilogue.numbers

    @abstractmethod
    def words(self, channels: int) -> int:
        """Count the words of weights of one window row for a block of so many output channels."""

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.in_channels
        channels = sum(blocks.size * blocks.count for blocks in self.channel_blocks)
        words = sum(blocks.count * self.words(blocks.size) for blocks in self.channel_blocks)
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=() if self.has_absent_rows else tuple(range(len(present))),
            output=self.window.out_width * self.out_channels,
            tables={"channels": channels * self.numbers, "weights": words * self.window.kernel_height},
            padding=0 if all(present) else row,
        )


def is_dense(layer: Convolution) -> bool:
    """Whether window rows are adjacent bytes, and borders small enough to be copied."""
    window = layer.window
    adjacent = window.dilation_width == 1 or window.kernel_width == 1
    inside = len(window.row.interior) == window.out_width
    return adjacent and (inside or len(layer.taps) <= MAX_COPIED_BYTES)


def geometry(layer: Convolution, pixels: int) -> dict[str, Any]:
    """Return the fields of a kernel that do not depend on how it multiplies."""
    interior = len(layer.window.row.interior)
    return {
        "inputs": (layer.input,),
        "output": layer.output,
        "shape_name": layer.width_name + ("" if layer.is_pointwise else layer.window.row.name),
        "window": layer.window.row,
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "pixels": even_size(interior, pixels),
        "has_absent_rows": layer.window.has_absent_rows,
        "zero": layer.stored_zero,
    }


def spans_of(blocks: Sequence[Blocks]) -> list[range]:
    return [span for block in blocks for span in block.spans]
