"""Compute a dense convolution or fully connected layer with dual 16-bit multiply-accumulate.

Four adjacent values are one word, of which bytes 0 and 2, 1 and 3 make two pairs; weights are loaded two words at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.kernels.armv7e_m.pairs import choose_int16_requantizer, of_bytes, pack_fours
from codegen.kernels.blocks import Blocks, blocks_of, even_size
from codegen.kernels.convolution import Convolution
from codegen.kernels.dense import DenseKernel, geometry, is_dense, spans_of
from codegen.program.kernel import Built, Table, parameters_of
from codegen.program.target import Target

# Chosen by counting instructions (`nanou-deploy bench`).
LEAST_INPUTS = 24
CHANNELS_OF_BLOCK = {1: 8, 2: 3}  # by pixels of a block; four would be spilled in the innermost loop
CHANNELS_OF_WINDOW_BLOCK = {1: 8, 2: 4}  # of windows of several rows, where they still cost less than a block more
FOURS_PER_STEP = 2  # between jumps


@dataclass(frozen=True, kw_only=True)
class Conv2D(DenseKernel):
    """`steps`: of groups of four input values; what is left of a span is `rest`.

    `flips_sign`: the input is int8, whose sign bit is flipped to make bytes plus 128.
    """

    flips_sign: bool

    @property
    def requires(self) -> tuple[str, ...]:
        return *self.epilogue.requires, "smlad", "load_word", "load_two"

    @property
    def rest(self) -> int:
        return self.span_values % 4

    def words(self, channels: int) -> int:
        fours = sum(blocks.size * blocks.count for blocks in self.steps)
        return channels * (2 * fours + -(-self.rest // 2))


def applies(layer: Convolution, target: Target) -> bool:
    least = LEAST_INPUTS if layer.is_pointwise else 2
    return target.dual_multiply and is_dense(layer) and len(layer.taps) >= least


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_int16_requantizer(of_bytes(layer), target)
    interior = len(layer.window.row.interior)
    pixels = 2 if interior >= 8 or (interior and interior % 2 == 0) else 1
    channels = (CHANNELS_OF_BLOCK if layer.window.kernel_height == 1 else CHANNELS_OF_WINDOW_BLOCK)[pixels]
    channel_blocks = blocks_of(layer.out_channels, even_size(layer.out_channels, channels))
    spans = spans_of(channel_blocks)
    rows = (layer.taps * requantizer.factor).reshape(layer.window.kernel_height, -1, layer.out_channels)
    packed = [pack_fours(row) for row in rows]
    weights = np.concatenate([words[:, span.start : span.stop].reshape(-1) for span in spans for words in packed])
    tables = requantizer.table_of_blocks(spans), Table("weights", weights, 8)
    fours: tuple[Blocks, ...] = blocks_of(rows.shape[1] // 4, FOURS_PER_STEP)
    kernel = Conv2D(
        **geometry(layer, pixels),
        tables=parameters_of(tables),
        channel_blocks=channel_blocks,
        steps=fours,
        flips_sign=layer.input.bias == 0,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
