"""Compute a depthwise 3x3 of rows in blocks: 16 columns at a time, their neighbours shifted in from both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.digits import Digits, build_digits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Present, Table, blocks_of_row, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3(VectorKernel):
    channels: int
    width: int
    blocks: int
    zero: int  # the stored one
    digits: Digits

    @property
    def row_instructions(self) -> int:
        return self.blocks * self.channels * (12 * self.digits.count - 9 * self.digits.bare + 33)

    @property
    def has_edge(self) -> bool:
        """Whether the row ends within a block, where its last column's neighbour has to be made the padding."""
        return self.width % BLOCK_PX != 0

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "digit_sum", "columns_of_block"

    @property
    def padding_value(self) -> int | None:
        return self.zero

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = self.blocks * BLOCK_PX * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=(1,),
            output=row,
            tables={"digits": self.digits.table_bytes(self.channels)},
            padding=0 if all(present) else row,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"], units_of_channel=1)


def applies(layer: Convolution, target: Target) -> bool:
    return target.vector_blocks and layer.is_same_3x3 and _digits(layer) is not None


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    digits, table = found
    kernel = DepthwiseConv2D3x3(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name,
        tables=parameters_of((table,)),
        channels=layer.in_channels,
        width=layer.window.in_width,
        blocks=blocks_of_row(layer.window.in_width),
        zero=layer.stored_zero,
        digits=digits,
    )
    return Built(kernel, (table,))


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[Digits, Table] | None:
    """Take forms of which the weights of one digit and its starts fit a vector."""
    edge_lane = (layer.window.in_width - 1) % BLOCK_PX
    return build_digits(layer, layer.taps.T[None, :, None], edge_lane, most_vectors=1)
