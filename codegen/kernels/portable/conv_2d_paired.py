"""Compute a dense convolution or fully connected layer with one multiplication for two output channels.

A word holds the weights of two output channels, low + 65536 * high. Its product with an input value is both products,
and the sum of two such products is split exactly: 2 * 127 * 128 fits in 16 bits. So two values times two channels take
two multiplications, an addition and four instructions to split and add up, instead of four multiplications and four
additions; and weights are loaded two at a time. Weights are the file's; the factor of a channel's one multiply
(`codegen.kernels.epilogue`) multiplies its sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import IntArray
from codegen.kernels.blocks import blocks_of, even_size
from codegen.kernels.convolution import Convolution
from codegen.kernels.dense import DenseKernel, geometry, is_dense, spans_of
from codegen.kernels.epilogue import choose_requantizer
from codegen.program.kernel import Built, Storage, Table, parameters_of
from codegen.program.target import Target

LARGEST_VALUE = 128  # an input's magnitude, as int8
# Chosen by counting instructions (`nanou-deploy bench`): splitting costs more than it saves for fewer.
LEAST_INPUTS = 24
LEAST_PLACES = 9  # the same of windows that are not pointwise
PAIRS_OF_BLOCK = {1: 8, 2: 4}  # pairs of channels, by pixels of a block: what 32 registers hold
WIDE = 16  # from here on, blocks of two pixels are worth one pixel computed twice
LEAST_SPAN = 24  # adjacent values of a window row, below which 16 sums cost more to load and store than they share
FEW_CHANNELS = 4  # of two pixels, so few that their sums stay in registers


@dataclass(frozen=True, kw_only=True)
class Conv2DPaired(DenseKernel):
    """`steps`: of input values, two at a time. `has_factor`: sums are multiplied by their channel's last number."""

    has_factor: bool

    @property
    def requires(self) -> tuple[str, ...]:
        return *self.epilogue.requires, "high_half"

    @property
    def numbers(self) -> int:
        return self.epilogue.numbers + self.has_factor

    def words(self, channels: int) -> int:
        return -(-channels // 2) * sum(blocks.size * blocks.count for blocks in self.steps)

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Whether both halves of each sum of two products fit, computed from the words."""
        words = tables["weights"].values.astype(np.int64)
        low = ((words + 0x8000) & 0xFFFF) - 0x8000
        high = (((words - low) >> 16) + 0x8000 & 0xFFFF) - 0x8000
        largest = 2 * LARGEST_VALUE * max(int(np.abs(low).max()), int(np.abs(high).max()))
        return () if largest <= 0x7FFF else (f"the sum of two products reaches {largest}, beyond 16 bits",)


def applies(layer: Convolution, target: Target) -> bool:
    taps = np.abs(layer.taps)
    fits = int(taps.max(initial=0)) < LARGEST_VALUE and int(taps.sum(0).max()) * LARGEST_VALUE < 2**31
    worth = len(taps) >= (LEAST_INPUTS if layer.is_pointwise else LEAST_PLACES) and layer.out_channels > 2
    return target.paired_products and worth and fits and is_dense(layer)


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_requantizer(replace(layer, input=Storage(0)), target)  # values are taken as int8
    has_factor = bool((requantizer.factor != 1).any())
    if has_factor:
        factors = tuple(int(factor) for factor in requantizer.factor)
        requantizer = replace(requantizer, columns={**requantizer.columns, "factor": factors})
    interior = len(layer.window.row.interior)
    rows = layer.taps.reshape(layer.window.kernel_height, -1, layer.out_channels)
    even = interior >= WIDE or (interior > 0 and interior % 2 == 0)
    pixels = 2 if even and (rows.shape[1] >= LEAST_SPAN or layer.out_channels <= FEW_CHANNELS) else 1
    pairs = even_size(-(-layer.out_channels // 2), PAIRS_OF_BLOCK[pixels])
    channel_blocks = blocks_of(layer.out_channels, 2 * pairs)
    spans = spans_of(channel_blocks)
    weights = np.concatenate([_words(row[:, span.start : span.stop]) for span in spans for row in rows])
    tables = requantizer.table_of_blocks(spans), Table("weights", weights, 8)
    kernel = Conv2DPaired(
        **geometry(layer, pixels),
        tables=parameters_of(tables),
        channel_blocks=channel_blocks,
        steps=blocks_of(rows.shape[1], 2),
        epilogue=requantizer.epilogue,
        has_factor=has_factor,
    )
    return Built(kernel, tables)


def _words(weights: IntArray) -> npt.NDArray[np.uint32]:
    """Pack (inputs, outputs): for each two inputs, by pair of outputs, the word of either input."""
    padded = np.pad(weights, ((0, 0), (0, weights.shape[1] % 2)))
    words = (padded[:, 0::2] + (padded[:, 1::2] << 16)) & 0xFFFFFFFF
    whole = len(words) // 2 * 2
    twos = words[:whole].reshape(-1, 2, words.shape[1]).swapaxes(1, 2)
    packed: npt.NDArray[np.uint32] = np.concatenate([twos.reshape(-1), words[whole:].reshape(-1)]).astype(np.uint32)
    return packed
