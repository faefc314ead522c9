"""Compute a depthwise 3x3 with dual multiply-accumulate: two window rows to a word, two columns of the third."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.armv7e_m.pairs import choose_int16_requantizer, of_bytes, pack_pairs
from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3(Kernel):
    """`pair_blocks`: pairs of columns to the right of the first one; a last one may be left."""

    channels: int
    pair_blocks: tuple[Blocks, ...]
    has_last_column: bool
    stored_zero: int  # of the padding row
    byte_zero: int  # the same as a byte, which is what gets multiplied
    flips_sign: bool  # the input is int8, whose sign bit is flipped to make bytes plus 128
    epilogue: Epilogue

    never_inlined = True

    @property
    def requires(self) -> tuple[str, ...]:
        return *self.epilogue.requires, "smlad", "smladx"

    @property
    def padding_value(self) -> int | None:
        return self.stored_zero

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        pairs = sum(blocks.size * blocks.count for blocks in self.pair_blocks)
        row = (1 + 2 * pairs + self.has_last_column) * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=(1,),
            output=row,
            tables={"channels": self.channels * self.epilogue.numbers, "weights": self.channels * 5},
            padding=0 if all(present) else row,
        )


def applies(layer: Convolution, target: Target) -> bool:
    return target.dual_multiply and layer.is_same_3x3 and layer.window.in_width > 1


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_int16_requantizer(of_bytes(layer), target)
    rows = (layer.taps * requantizer.factor).reshape(3, 3, -1)
    words = np.concatenate([pack_pairs(rows[0], rows[1]), pack_pairs(rows[2, :2], rows[2, 1:])])
    pairs, last = divmod(layer.window.in_width - 1, 2)
    tables = requantizer.table(), Table("weights", words.T.reshape(-1), 5)
    kernel = DepthwiseConv2D3x3(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name,
        tables=parameters_of(tables),
        channels=layer.in_channels,
        pair_blocks=blocks_of(pairs, target.columns_per_step // 2),
        has_last_column=last == 1,
        stored_zero=layer.stored_zero,
        byte_zero=of_bytes(layer).stored_zero,
        flips_sign=layer.input.bias == 0,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
