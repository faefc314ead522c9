"""Compute a convolution of 16 output channels at a time: a digit of 16 weights times one value each.

A pixel's channels fill whole vectors, so that a 1x1 convolution reads them in place. Other windows are gathered before,
pixel by pixel, into one span of bytes; so are fully connected layers whose vectors do not begin at multiples of 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import LaneDigits, build_lane_digits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.window import RowWindow
from codegen.program.kernel import LANES, Accesses, Built, Present, Table, parameters_of, vectors_of
from codegen.program.target import Target

_HELD_VECTORS = 4
_MAX_GATHERED_BYTES = 4096  # on the stack
_MAX_BRANCH_BYTES = 1900  # of 2048


@dataclass(frozen=True, kw_only=True)
class Conv2D(VectorKernel):
    """`in_pitch` and `out_pitch`: bytes from one pixel to the next. `zero`: the stored one."""

    window: RowWindow
    in_channels: int
    out_channels: int
    in_pitch: int
    out_pitch: int
    gathers: bool
    has_absent_rows: bool
    zero: int
    digits: LaneDigits

    @property
    def row_instructions(self) -> int:
        reread = 0 if self.holds_values else self.digits.count * (self.vectors + 6)
        one_group = self.digits.group_products + self.digits.count + self.vectors + reread + 9
        gathered = 6 * self.taps + 40 if self.gathers else 0
        return self.window.out_width * (self.groups * one_group + gathered)

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "lane_sum"

    @property
    def padding_value(self) -> int | None:
        return self.zero if self.has_absent_rows else None

    @property
    def taps(self) -> int:
        return self.digits.taps

    @property
    def groups(self) -> int:
        """Of 16 output channels."""
        return vectors_of(self.out_channels)

    @property
    def pixels_per_call(self) -> int:
        return 1 if self.gathers else self.window.out_width

    @property
    def vectors(self) -> int:
        """Of values."""
        return vectors_of(self.taps)

    @property
    def holds_values(self) -> bool:
        """Whether all values of a pixel stay in registers; else they are read again for each digit."""
        return self.vectors <= _HELD_VECTORS

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of one pixel; else it takes a jump."""
        return self.digits.count * (4 * min(self.taps, LANES * _HELD_VECTORS) + 40) <= _MAX_BRANCH_BYTES

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        columns = self.window.last_column + 1
        row = columns * self.in_pitch - (self.in_pitch - self.in_channels if self.gathers and columns else 0)
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=() if self.has_absent_rows else tuple(range(len(present))),
            output=self.window.out_width * self.out_pitch,
            tables={"digits": self.digits.table_bytes(self.out_channels)},
            padding=0 if all(present) else row,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"])


def applies(layer: Convolution, target: Target) -> bool:
    fills = layer.output.bias == 0 and layer.output.pixel_bytes(layer.out_channels) % LANES == 0
    fits = _reads_in_place(layer) or len(layer.taps) <= _MAX_GATHERED_BYTES
    takes = layer.input.bias == 0 and not layer.input.is_blocked and not layer.output.is_blocked
    return target.vector_blocks and fills and fits and takes and _digits(layer) is not None


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    digits, table = found
    kernel = Conv2D(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name + ("" if layer.is_pointwise else layer.window.row.name),
        tables=parameters_of((table,)),
        window=layer.window.row,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        in_pitch=layer.input.pixel_bytes(layer.in_channels),
        out_pitch=layer.output.pixel_bytes(layer.out_channels),
        gathers=not _reads_in_place(layer),
        has_absent_rows=layer.window.has_absent_rows,
        zero=layer.stored_zero,
        digits=digits,
    )
    return Built(kernel, (table,))


def _reads_in_place(layer: Convolution) -> bool:
    fills = layer.input.pixel_bytes(layer.in_channels) % LANES == 0
    window = layer.window
    return fills and layer.is_pointwise and not window.overhangs and window.in_width == window.out_width


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[LaneDigits, Table] | None:
    return build_lane_digits(layer)
