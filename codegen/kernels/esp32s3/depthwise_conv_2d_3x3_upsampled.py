"""Upsample rows in blocks and compute a depthwise 3x3: even and odd columns apart, of two source rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codegen.kernels.convolution import UpsampledDepthwise
from codegen.kernels.esp32s3.depthwise_conv_2d_3x3 import DepthwiseConv2D3x3
from codegen.kernels.esp32s3.digits import Digits, build_digits, differences
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Present, Table, blocks_of_row, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3Upsampled(DepthwiseConv2D3x3):
    """`width` and `blocks` of the source. Each block gives two; the last one gives one where `ends_odd`."""

    ends_odd: bool

    @property
    def row_instructions(self) -> int:
        return self.blocks * self.channels * (14 * self.digits.count - 8 * self.digits.bare + 30)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = self.blocks * BLOCK_PX * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            output=2 * row - self.ends_odd * BLOCK_PX * self.channels,
            tables={"digits": self.digits.table_bytes(2 * self.channels)},
            padding=0 if all(present) else row,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"], units_of_channel=2)


def applies(layer: UpsampledDepthwise, target: Target) -> bool:
    return target.vector_blocks and layer.convolution.is_same_3x3 and _digits(layer) is not None


def build(layer: UpsampledDepthwise, target: Target) -> Built:
    found, convolution = _digits(layer), layer.convolution
    assert found is not None  # it applies
    digits, table = found
    kernel = DepthwiseConv2D3x3Upsampled(
        inputs=(convolution.input,),
        output=convolution.output,
        shape_name=convolution.width_name,
        tables=parameters_of((table,)),
        channels=convolution.in_channels,
        width=layer.source_width,
        blocks=blocks_of_row(layer.source_width),
        ends_odd=blocks_of_row(2 * layer.source_width) % 2 == 1,
        zero=convolution.stored_zero,
        digits=digits,
    )
    return Built(kernel, (table,))


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: UpsampledDepthwise) -> tuple[Digits, Table] | None:
    """Give a channel two units: even columns, of left and middle source pixels, and odd ones, of middle and right."""
    upper, lower = np.split(layer.sums(), 2, axis=2)
    units = np.stack([np.concatenate([rows[..., i : i + 2] for rows in (upper, lower)], 2) for i in (0, 2)], 2)
    edge_lane = (layer.source_width - 1) % BLOCK_PX
    return build_digits(layer.convolution, units, edge_lane, most_vectors=1)
