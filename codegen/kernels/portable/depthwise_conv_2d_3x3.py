"""Compute a depthwise 3x3 in running sums: weights stay in registers, each value is loaded once for a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import weights_table
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3(Kernel):
    """`column_blocks`: columns to the right of the first one, of which each ends one output and begins another."""

    channels: int
    column_blocks: tuple[Blocks, ...]
    zero: int  # the stored one
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    @property
    def padding_value(self) -> int | None:
        return self.zero

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        columns = 1 + sum(blocks.size * blocks.count for blocks in self.column_blocks)
        row = columns * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=(1,),
            output=row,
            tables={"channels": self.channels * self.epilogue.numbers, "weights": self.channels * 9},
            padding=0 if all(present) else row,
        )


def applies(layer: Convolution, target: Target) -> bool:
    return layer.is_same_3x3 and layer.window.in_width > 1


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_requantizer(layer, target)
    tables = requantizer.table(), weights_table((layer.taps * requantizer.factor).T, 9)
    kernel = DepthwiseConv2D3x3(
        inputs=(layer.input,),
        output=layer.output,
        tables=parameters_of(tables),
        shape_name=layer.width_name,
        channels=layer.in_channels,
        column_blocks=blocks_of(layer.window.in_width - 1, target.columns_per_step),
        zero=layer.stored_zero,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
