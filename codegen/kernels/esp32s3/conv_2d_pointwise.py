"""Compute a 1x1 convolution of rows in blocks: 16 pixels at a time, each weight digit one instruction for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.digits import Digits, build_digits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Present, Table, blocks_of_row, parameters_of
from codegen.program.target import Target

_MAX_LOOP_BYTES = 240  # of a zero-overhead loop; 256 less what aligns it
_MAX_BRANCH_BYTES = 1900  # of 2048
_HELD_CHANNELS = 4
_MAX_CHANNELS = 256  # whose products are all written out


@dataclass(frozen=True, kw_only=True)
class Conv2DPointwise(VectorKernel):
    in_channels: int
    out_channels: int
    blocks: int
    digits: Digits

    @property
    def row_instructions(self) -> int:
        return self.blocks * (self.out_channels * self.channel_bytes // 3 + 8)

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "digit_sum"

    @property
    def holds_inputs(self) -> bool:
        """Whether all channels of a block stay in registers; else they are read again for each digit."""
        return self.in_channels <= _HELD_CHANNELS

    @property
    def channel_bytes(self) -> int:
        """Of the code for one output channel, at most."""
        multiplied = self.digits.count - self.digits.bare
        products = multiplied * self.in_channels + sum(self.digits.starts)
        rest = self.digits.count * (self.digits.vectors + 1) + 4
        streamed = 0 if self.holds_inputs else 4 * multiplied * self.in_channels // 3 + self.digits.count + 4
        return 3 * (products + rest + streamed)

    @property
    def loops_in_hardware(self) -> bool:
        """Whether the code of one output channel is short enough for a zero-overhead loop."""
        return self.channel_bytes <= _MAX_LOOP_BYTES

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of one output channel; else it takes a jump."""
        return self.channel_bytes <= _MAX_BRANCH_BYTES

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        pixels = self.blocks * BLOCK_PX
        return Accesses(
            rows=(pixels * self.in_channels,),
            required=(0,),
            output=pixels * self.out_channels,
            tables={"digits": self.digits.table_bytes(self.out_channels)},
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"], units_of_channel=1)


def applies(layer: Convolution, target: Target) -> bool:
    same_width = layer.window.in_width == layer.window.out_width
    fits = layer.is_pointwise and same_width and layer.in_channels <= _MAX_CHANNELS
    return target.vector_blocks and fits and _digits(layer) is not None


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    digits, table = found
    kernel = Conv2DPointwise(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name,
        tables=parameters_of((table,)),
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        blocks=blocks_of_row(layer.window.out_width),
        digits=digits,
    )
    return Built(kernel, (table,))


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[Digits, Table] | None:
    return build_digits(layer, layer.taps.T[None, :, None], edge_lane=BLOCK_PX - 1)
