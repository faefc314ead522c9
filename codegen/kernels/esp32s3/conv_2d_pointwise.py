"""Compute a 1x1 convolution of rows in blocks: 16 pixels at a time, each weight digit one instruction for all.

Results of both signs, which are rounded away from 0, are no line. Then positive and negative ones are computed apart,
each clamped at 0, and added: that takes twice the products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from codegen.arithmetic.one_multiply_search import Line
from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.digits import Digits, build_digits, differences, halves_of
from codegen.kernels.esp32s3.vector_kernel import MAX_BRANCH_BYTES, VectorKernel
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Present, Table, blocks_of_row, parameters_of
from codegen.program.target import Target

_MAX_LOOP_BYTES = 240  # of a zero-overhead loop; 256 less what aligns it
_HELD_CHANNELS = 4
_MAX_CHANNELS = 256  # whose products are all written out


@dataclass(frozen=True, kw_only=True)
class Conv2DPointwise(VectorKernel):
    """`halves`: 2 where positive and negative results are computed apart. They add up with `zero_point`'s offset."""

    in_channels: int
    out_channels: int
    blocks: int
    digits: Digits
    halves: int = 1
    zero_point: int = 0

    @property
    def sum_factors(self) -> tuple[int, int]:
        """Of either half, and of START_VALUE, shifted by seven: their stored zeros, -128 and 127, make -1."""
        return 1, -1 - self.zero_point

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
        return 3 * self.halves * (products + rest + streamed) + (45 if self.halves > 1 else 0)

    @property
    def loops_in_hardware(self) -> bool:
        """Whether the code of one output channel is short enough for a zero-overhead loop."""
        return self.channel_bytes <= _MAX_LOOP_BYTES

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of one output channel; else it takes a jump."""
        return self.channel_bytes <= MAX_BRANCH_BYTES

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        pixels = self.blocks * BLOCK_PX
        return Accesses(
            rows=(pixels * self.in_channels,),
            required=(0,),
            output=pixels * self.out_channels,
            tables={"digits": self.digits.table_bytes(self.halves * self.out_channels)},
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        table = tables["digits"]
        wrong = differences(self.digits, table, units_of_channel=1)
        if self.halves == 1:
            return wrong
        zero_points = [channel.found.zero_point for channel in table.channels if isinstance(channel.found, Line)]
        if zero_points != [-128, 127] * self.out_channels or not -127 <= self.zero_point <= 126:
            wrong += ("positive and negative results do not take turns",)
        if tuple(table.values[BLOCK_PX : BLOCK_PX + 2].tolist()) != self.sum_factors:
            wrong += ("halves are not added to the result",)
        exact = [channel.exact for channel in table.channels]
        same = [replace(one, low=0, high=0) for one in exact]
        limits = [(one.low, one.high) for one in exact]
        if same[::2] != same[1::2] or limits != [(0, 255), (-255, 0)] * self.out_channels:
            wrong += ("halves are not of one result",)
        return wrong


def applies(layer: Convolution, target: Target) -> bool:
    same_width = layer.window.in_width == layer.window.out_width
    fits = layer.is_pointwise and same_width and layer.in_channels <= _MAX_CHANNELS
    return target.vector_blocks and fits and _digits(layer) is not None


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    digits, table = found
    halves = len(table.channels) // layer.out_channels
    kernel = Conv2DPointwise(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name,
        tables=parameters_of((table,)),
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        blocks=blocks_of_row(layer.window.out_width),
        digits=digits,
        halves=halves,
        zero_point=layer.scaling.output_zero_point if halves > 1 else 0,
    )
    return Built(kernel, (table,))


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[Digits, Table] | None:
    units = layer.taps.T[None, :, None]
    found = build_digits(layer, units, edge_lane=BLOCK_PX - 1)
    zero_point, halves = layer.scaling.output_zero_point, halves_of(layer) if found is None else None
    if halves is None or not -127 <= zero_point <= 126:
        return found
    made = build_digits(layer, units.repeat(2, axis=1), BLOCK_PX - 1, channels=halves)
    if made is None:
        return None
    digits, table = made
    values = table.values.copy()
    values[BLOCK_PX : BLOCK_PX + 2] = 1, -1 - zero_point
    return digits, replace(table, values=values)
