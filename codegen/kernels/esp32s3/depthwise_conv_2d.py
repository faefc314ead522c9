"""Compute a depthwise convolution of 16 channels at a time: a digit of 16 weights times 16 values of one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import build_lane_digits
from codegen.kernels.esp32s3.lane_kernel import LaneKernel, fields_of
from codegen.kernels.esp32s3.vector_kernel import MAX_BRANCH_BYTES
from codegen.kernels.window import RowWindow
from codegen.program.kernel import LANES, Built, Table
from codegen.program.target import Target

_MAX_HEIGHT = 5  # row pointers in registers
_MAX_TAPS = 25
_STEPS = range(-2048, 2033)  # of a load, in bytes


@dataclass(frozen=True)
class Columns:
    """`count` neighbouring output columns of which the taps `taps` lie inside the image's width."""

    count: int
    taps: range


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(LaneKernel):
    @property
    def row_instructions(self) -> int:
        taps = self.window.kernel_height * self.window.kernel_width
        return self.window.out_width * self.groups * (self.digits.count * (2 * taps + 2) + 8)

    @property
    def spans(self) -> tuple[Columns, ...]:
        """All columns, from left to right; each span has code of its own."""
        return spans_of(self.window)

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of all spans; else it takes a jump."""
        span_bytes = self.digits.count * (7 * self.window.kernel_height * self.window.kernel_width + 10) + 60
        return len(self.spans) * span_bytes <= MAX_BRANCH_BYTES

    @property
    def stride_bytes(self) -> int:
        return self.window.stride_width * self.in_pitch

    @property
    def tap_bytes(self) -> int:
        """From one tap of a row to the next."""
        return self.window.dilation_width * self.in_pitch

    @property
    def first_byte(self) -> int:
        """Where the first column's first tap lies in its row."""
        return int(self.window.columns(self.spans[0].taps.start)[0]) * self.in_pitch

    @property
    def steps(self) -> tuple[int, ...]:
        """All by which the code moves along a row: between taps, back to the first, to the next column."""
        back = [(len(span.taps) - 1) * self.tap_bytes for span in self.spans]
        ahead = [abs(b.taps.start - a.taps.start) * self.tap_bytes for a, b in pairwise(self.spans)]
        return (self.tap_bytes, self.first_byte, *(-b for b in back), *(self.stride_bytes - b for b in back), *ahead)


def spans_of(window: RowWindow) -> tuple[Columns, ...]:
    """Divide a row's columns by which taps are inside; a column of which none is has an empty range."""
    inside = [
        tuple(kx for kx in range(window.kernel_width) if 0 <= int(window.columns(kx)[x]) < window.in_width)
        for x in range(window.out_width)
    ]
    runs = [(taps, len(list(run))) for taps, run in groupby(inside)]
    return tuple(Columns(count, range(taps[0], taps[-1] + 1) if taps else range(0)) for taps, count in runs)


def applies(layer: Convolution, target: Target) -> bool:
    window = layer.window
    fits = window.kernel_height <= _MAX_HEIGHT and window.kernel_height * window.kernel_width <= _MAX_TAPS
    fills = layer.input.bias == 0 and layer.input == layer.output and not layer.input.is_blocked
    whole = layer.input.pixel_bytes(layer.in_channels) % LANES == 0 and layer.in_channels == layer.out_channels
    if not (target.vector_blocks and fits and fills and whole and all(span.taps for span in spans_of(window.row))):
        return False
    made = _make(layer)
    return made is not None and all(step in _STEPS for step in made[0].steps)


def build(layer: Convolution, target: Target) -> Built:
    made = _make(layer)
    assert made is not None  # it applies
    return Built(made[0], (made[1],))


def _make(layer: Convolution) -> tuple[DepthwiseConv2D, Table] | None:
    found = build_lane_digits(layer)
    if found is None:
        return None
    kernel = DepthwiseConv2D(
        **fields_of(layer, *found),
        shape_name=layer.width_name + layer.window.row.name,
    )
    return kernel, found[1]
