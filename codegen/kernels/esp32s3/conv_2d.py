"""Compute a convolution of 16 output channels at a time: a digit of 16 weights times one value each.

A pixel's channels fill whole vectors, so that a 1x1 convolution reads them in place. Where a row of the window has no
more bytes than a vector, as in first layers, rows are copied one behind the other, with what lies beyond their edges,
and each is loaded from wherever it begins. Other windows are gathered before, pixel by pixel, into one span of bytes;
so are fully connected layers whose vectors do not begin at multiples of 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import LaneDigits, build_lane_digits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.window import RowWindow
from codegen.program.kernel import LANES, Accesses, Built, Present, Table, parameters_of, vectors_of
from codegen.program.target import Target

_HELD_VECTORS = 4
_MAX_GATHERED_BYTES = 4096  # on the stack
_MAX_BRANCH_BYTES = 1900  # of 2048
_MAX_STEP_BYTES = 127  # of an immediate

Source = Literal["pixels", "lines", "window"]


@dataclass(frozen=True, kw_only=True)
class Conv2D(VectorKernel):
    """`in_pitch` and `out_pitch`: bytes from one pixel to the next. `zero`: the stored one.

    `source`: values are read from pixels in place, from copied lines, or from a window gathered for each pixel.
    """

    reads_any_pixels = True

    window: RowWindow
    in_channels: int
    out_channels: int
    in_pitch: int
    out_pitch: int
    source: Source
    has_absent_rows: bool
    zero: int
    digits: LaneDigits

    @property
    def row_instructions(self) -> int:
        reread = 0 if self.holds_values else self.digits.count * (self.vectors + 6)
        loads = self.vectors * (3 if self.source == "lines" else 1)
        one_group = self.digits.group_products + self.digits.count + loads + reread + 9
        gathered = 6 * self.taps + 40 if self.source == "window" else 0
        copied = self.window.kernel_height * (self.line_bytes + 60) if self.source == "lines" else 0
        return self.window.out_width * (self.groups * one_group + gathered) + copied

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
        return 1 if self.source == "window" else self.window.out_width

    @property
    def vectors(self) -> int:
        """Of values."""
        return self.window.kernel_height if self.source == "lines" else vectors_of(self.taps)

    @property
    def line_taps(self) -> int:
        """Values of one row of the window."""
        return self.window.kernel_width * self.in_channels

    @property
    def lanes(self) -> tuple[tuple[int, int], ...]:
        """The vector of each tap's value, and its lane there."""
        vector = self.line_taps if self.source == "lines" else LANES
        return tuple(divmod(tap, vector) for tap in range(self.taps))

    @property
    def step_bytes(self) -> int:
        """From one pixel's first value to the next one's."""
        return self.window.stride_width * self.in_pitch

    @property
    def lead_bytes(self) -> int:
        """Of a copied line, in front of the row; the first window begins `first_byte` behind the line's beginning."""
        return vectors_of(self.window.pad_left * self.in_pitch) * LANES

    @property
    def first_byte(self) -> int:
        return self.lead_bytes - self.window.pad_left * self.in_pitch

    @property
    def line_bytes(self) -> int:
        """A value lies in the vector in which its window begins, or in the next one."""
        last = self.first_byte + (self.window.out_width - 1) * self.step_bytes
        return (last // LANES + 2) * LANES

    @property
    def row_bytes(self) -> int:
        """Of a row, as far as it is read."""
        columns = self.window.last_column + 1
        unread = self.in_pitch - self.in_channels if self.source == "window" and columns else 0
        return columns * self.in_pitch - unread

    @property
    def holds_values(self) -> bool:
        """Whether all values of a pixel stay in registers; else they are read again for each digit."""
        return self.vectors <= _HELD_VECTORS

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of one pixel; else it takes a jump."""
        return self.digits.count * (4 * min(self.taps, LANES * _HELD_VECTORS) + 40) + 40 <= _MAX_BRANCH_BYTES

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses(
            rows=tuple(self.row_bytes if there else 0 for there in present),
            required=() if self.has_absent_rows else tuple(range(len(present))),
            output=self.window.out_width * self.out_pitch,
            tables={"digits": self.digits.table_bytes(self.out_channels)},
            padding=0 if all(present) else self.row_bytes,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"])


def applies(layer: Convolution, target: Target) -> bool:
    fills = layer.output.bias == 0 and layer.output.pixel_bytes(layer.out_channels) % LANES == 0
    takes = layer.input.bias == 0 and not layer.input.is_blocked and not layer.output.is_blocked
    if not (target.vector_blocks and fills and takes and layer.is_dense) or _digits(layer) is None:
        return False
    return _source(layer) != "window" or len(layer.taps) <= _MAX_GATHERED_BYTES


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    return Built(_kernel(layer, _source(layer)), (found[1],))


def _kernel(layer: Convolution, source: Source) -> Conv2D:
    found = _digits(layer)
    assert found is not None
    digits, table = found
    return Conv2D(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name + ("" if layer.is_pointwise else layer.window.row.name),
        tables=parameters_of((table,)),
        window=layer.window.row,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        in_pitch=layer.input.pixel_bytes(layer.in_channels),
        out_pitch=layer.output.pixel_bytes(layer.out_channels),
        source=source,
        has_absent_rows=layer.window.has_absent_rows,
        zero=layer.stored_zero,
        digits=digits,
    )


def _source(layer: Convolution) -> Source:
    """Where the values of a layer with digits are read."""
    fills, window = layer.input.pixel_bytes(layer.in_channels) % LANES == 0, layer.window
    if fills and layer.is_pointwise and not window.overhangs and window.in_width == window.out_width:
        return "pixels"
    is_joined = layer.input.layout == "interleaved" and window.dilation_width == 1
    kernel = _kernel(layer, "lines")
    fits = kernel.line_taps <= LANES and kernel.vectors <= _HELD_VECTORS and kernel.step_bytes <= _MAX_STEP_BYTES
    on_stack = kernel.vectors * kernel.line_bytes <= _MAX_GATHERED_BYTES
    return "lines" if is_joined and fits and on_stack else "window"


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[LaneDigits, Table] | None:
    return build_lane_digits(layer)
