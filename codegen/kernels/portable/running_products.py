"""Add the products of one row to sums that grow from row to row: a fully connected layer of a map that streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.epilogue import Requantizer
from codegen.kernels.weighted_layer import WeightedLayer
from codegen.program.kernel import SUMS, Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class RunningProducts(Kernel):
    """`values`: of a row. The second pointer has the sums of the rows before; it is NULL for the first one."""

    values: int
    channel_blocks: tuple[Blocks, ...]

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        channels = sum(blocks.size * blocks.count for blocks in self.channel_blocks)
        made_bytes = channels * SUMS.value_bytes
        return Accesses(
            (self.values, made_bytes if present[1] else 0),
            made_bytes,
            required=(0,),
            tables={"start": 0 if present[1] else channels, "weights": channels * self.values},
        )


def build(layer: WeightedLayer, requantizer: Requantizer, rows: int, target: Target) -> Built:
    """`layer`: of all rows together, whose taps are multiplied as they are; `requantizer`: of two roundings."""
    values = len(layer.taps) // rows
    channel_blocks = blocks_of(layer.out_channels, target.channels_per_block)
    spans = [span for blocks in channel_blocks for span in blocks.spans]
    by_row = layer.taps.reshape(rows, values, layer.out_channels)
    weights = np.concatenate([by_row[:, :, span.start : span.stop].reshape(rows, -1) for span in spans], axis=1)
    narrow = np.int8 if np.array_equal(weights, weights.astype(np.int8)) else np.int16  # old files have zero points
    tables = (
        Table("start", np.array(requantizer.start, np.int32), 8),
        Table("weights", weights.reshape(-1).astype(narrow), 20, phases=rows),
    )
    kernel = RunningProducts(
        inputs=(layer.input, SUMS),
        output=SUMS,
        tables=parameters_of(tables),
        shape_name=f"{values}_to_{layer.out_channels}",
        values=values,
        channel_blocks=channel_blocks,
    )
    return Built(kernel, tables)
