"""Compute a convolution of 16 output channels at a time: a digit of 16 weights times one value each.

A pixel's channels fill whole vectors, so that a 1x1 convolution reads them in place. Where a row of the window has no
more bytes than a vector, as in first layers, rows are copied one behind the other, with what lies beyond their edges,
and each is loaded from wherever it begins. Other windows are gathered before, pixel by pixel, into one span of bytes;
so are fully connected layers whose vectors do not begin at multiples of 16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import build_lane_digits
from codegen.kernels.esp32s3.lane_kernel import LaneKernel, fields_of
from codegen.kernels.esp32s3.vector_kernel import MAX_BRANCH_BYTES
from codegen.program.kernel import LANES, Built, Table, vectors_of
from codegen.program.target import Target

_HELD_VECTORS = 4
_MAX_GATHERED_BYTES = 4096  # on the stack
_MAX_STEP_BYTES = 127  # of an immediate

Source = Literal["pixels", "lines", "window"]


@dataclass(frozen=True, kw_only=True)
class Conv2D(LaneKernel):
    """`source`: values are read from pixels in place, from copied lines, or from a window gathered for each pixel."""

    reads_any_pixels = True

    in_channels: int
    source: Source

    @property
    def row_instructions(self) -> int:
        reread = 0 if self.holds_values else self.digits.count * (self.vectors + 6)
        loads = self.vectors * (3 if self.source == "lines" else 1)
        one_group = self.digits.group_products + self.digits.count + loads + reread + 9
        gathered = 6 * self.taps + 40 if self.source == "window" else 0
        copied = self.window.kernel_height * (self.line_bytes + 60) if self.source == "lines" else 0
        return self.window.out_width * (self.groups * one_group + gathered) + copied

    @property
    def taps(self) -> int:
        return self.digits.taps

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
        whole = super().row_bytes
        return whole - (self.in_pitch - self.in_channels) if self.source == "window" and whole else whole

    @property
    def holds_values(self) -> bool:
        """Whether all values of a pixel stay in registers; else they are read again for each digit."""
        return self.vectors <= _HELD_VECTORS

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of one pixel; else it takes a jump."""
        return self.digits.count * (4 * min(self.taps, LANES * _HELD_VECTORS) + 40) + 40 <= MAX_BRANCH_BYTES


def applies(layer: Convolution, target: Target) -> bool:
    fills = layer.output.bias == 0 and layer.output.pixel_bytes(layer.out_channels) % LANES == 0
    takes = layer.input.bias == 0 and not layer.input.is_blocked and not layer.output.is_blocked
    if not (target.vector_blocks and fills and takes and layer.is_dense):
        return False
    made = _make(layer)
    return made is not None and (made[0].source != "window" or len(layer.taps) <= _MAX_GATHERED_BYTES)


def build(layer: Convolution, target: Target) -> Built:
    made = _make(layer)
    assert made is not None  # it applies
    return Built(made[0], (made[1],))


def _make(layer: Convolution) -> tuple[Conv2D, Table] | None:
    found = build_lane_digits(layer)
    if found is None:
        return None
    kernel = Conv2D(
        **fields_of(layer, *found),
        shape_name=layer.width_name + ("" if layer.is_pointwise else layer.window.row.name),
        in_channels=layer.in_channels,
        source="lines",
    )
    return replace(kernel, source=_source(layer, kernel)), found[1]


def _source(layer: Convolution, of_lines: Conv2D) -> Source:
    """Where a layer's values are read; `of_lines` is the kernel that would copy lines."""
    fills, window = layer.input.pixel_bytes(layer.in_channels) % LANES == 0, layer.window
    if fills and layer.is_pointwise and not window.overhangs and window.in_width == window.out_width:
        return "pixels"
    is_joined = layer.input.layout == "interleaved" and window.dilation_width == 1
    is_short = of_lines.line_taps <= LANES and of_lines.vectors <= _HELD_VECTORS
    fits = is_short and of_lines.step_bytes <= _MAX_STEP_BYTES
    on_stack = of_lines.vectors * of_lines.line_bytes <= _MAX_GATHERED_BYTES
    return "lines" if is_joined and fits and on_stack else "window"
