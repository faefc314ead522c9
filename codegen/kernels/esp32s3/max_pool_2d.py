"""Pool maxima of windows two columns wide, of rows in blocks: even and odd columns apart, 16 results at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.pooling import Pooling
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Present, Table, blocks_of_row
from codegen.program.target import Target

_MAX_HEIGHT = 3


@dataclass(frozen=True, kw_only=True)
class MaxPool2D(VectorKernel):
    """`blocks` of the output; `ends_odd`: the last one has but one block of input."""

    channels: int
    kernel_height: int
    blocks: int
    ends_odd: bool

    @property
    def row_instructions(self) -> int:
        return self.blocks * self.channels * (4 * self.kernel_height + 6)

    @property
    def requires(self) -> tuple[str, ...]:
        return ("vector_code",)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        block = BLOCK_PX * self.channels
        rows = range(self.kernel_height)
        return Accesses(
            ((2 * self.blocks - self.ends_odd) * block,) * len(rows), self.blocks * block, required=tuple(rows)
        )


def applies(layer: Pooling, target: Target) -> bool:
    window = layer.window
    columns = window.kernel_width, window.stride_width
    fits = columns == (2, 2) and window.kernel_height <= _MAX_HEIGHT and not window.overhangs and not layer.is_clamped
    # Where columns are left over, the input may have more blocks than are read.
    return target.vector_blocks and fits and window.in_width == 2 * window.out_width


def build(layer: Pooling, target: Target) -> Built:
    window = layer.window
    kernel = MaxPool2D(
        inputs=(layer.storage,),
        output=layer.storage,
        shape_name=layer.name,
        channels=layer.channels,
        kernel_height=window.kernel_height,
        blocks=blocks_of_row(window.out_width),
        ends_odd=blocks_of_row(window.in_width) % 2 == 1,
    )
    return Built(kernel)
