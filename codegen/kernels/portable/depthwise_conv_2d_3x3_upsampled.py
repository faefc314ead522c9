"""Upsample by nearest neighbour and compute a depthwise 3x3 in one: 2x2 sums of taps instead of 3x3 products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.convolution import UpsampledDepthwise
from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import weights_table
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3Upsampled(Kernel):
    """`column_blocks`: source columns to the right of the first one. Each ends a pair of outputs and begins another.

    `weights` holds, for each phase (output row % factor) and channel, four sums of taps for the upper source row and
    four for the lower.
    """

    channels: int
    column_blocks: tuple[Blocks, ...]
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    @property
    def padding_value(self) -> int | None:
        return 0

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        columns = 1 + sum(blocks.size * blocks.count for blocks in self.column_blocks)
        row = columns * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            output=2 * row,
            tables={"channels": self.channels * self.epilogue.numbers, "weights": self.channels * 8},
            padding=0 if all(present) else row,
        )


def applies(layer: UpsampledDepthwise, target: Target) -> bool:
    return layer.is_same_3x3_of_zero


def build(layer: UpsampledDepthwise, target: Target) -> Built:
    convolution, sums = layer.convolution, layer.sums()
    requantizer = choose_requantizer(convolution, target, largest_weights=np.abs(sums).max((0, 2)).tolist())
    weights = weights_table(sums * requantizer.factor[:, None], 8, phases=layer.factor)
    tables = requantizer.table(), weights
    kernel = DepthwiseConv2D3x3Upsampled(
        inputs=(convolution.input,),
        output=convolution.output,
        tables=parameters_of(tables),
        shape_name=convolution.width_name,
        channels=convolution.in_channels,
        column_blocks=blocks_of(layer.source_width - 1, target.source_columns_per_step),
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
