"""Compute a depthwise convolution of 16 channels at a time: a digit of 16 weights times 16 values of one pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

from codegen.kernels.convolution import Convolution
from codegen.kernels.esp32s3.lane_digits import LaneDigits, build_lane_digits, differences
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.window import RowWindow
from codegen.program.kernel import LANES, Accesses, Built, Present, Table, parameters_of, vectors_of
from codegen.program.target import Target

_MAX_HEIGHT = 5  # row pointers in registers
_MAX_TAPS = 25
_MAX_BRANCH_BYTES = 1900  # of 2048
_STEPS = range(-2048, 2033)  # of a load, in bytes


@dataclass(frozen=True)
class Columns:
    """`count` neighbouring output columns of which the taps `taps` lie inside the image's width."""

    count: int
    taps: range


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(VectorKernel):
    """`pitch`: bytes from one pixel to the next. `zero`: the stored one."""

    window: RowWindow
    channels: int
    pitch: int
    has_absent_rows: bool
    zero: int
    digits: LaneDigits

    @property
    def row_instructions(self) -> int:
        taps = self.window.kernel_height * self.window.kernel_width
        return self.window.out_width * self.groups * (self.digits.count * (2 * taps + 2) + 8)

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "lane_sum"

    @property
    def padding_value(self) -> int | None:
        return self.zero if self.has_absent_rows else None

    @property
    def groups(self) -> int:
        """Of 16 channels."""
        return vectors_of(self.channels)

    @property
    def spans(self) -> tuple[Columns, ...]:
        """All columns, from left to right; each span has code of its own."""
        return spans_of(self.window)

    @property
    def branches_reach(self) -> bool:
        """Whether a branch goes back over the code of all spans; else it takes a jump."""
        span_bytes = self.digits.count * (7 * self.window.kernel_height * self.window.kernel_width + 10) + 60
        return len(self.spans) * span_bytes <= _MAX_BRANCH_BYTES

    @property
    def stride_bytes(self) -> int:
        return self.window.stride_width * self.pitch

    @property
    def tap_bytes(self) -> int:
        """From one tap of a row to the next."""
        return self.window.dilation_width * self.pitch

    @property
    def first_byte(self) -> int:
        """Where the first column's first tap lies in its row."""
        return int(self.window.columns(self.spans[0].taps.start)[0]) * self.pitch

    @property
    def steps(self) -> tuple[int, ...]:
        """All by which the code moves along a row: between taps, back to the first, to the next column."""
        back = [(len(span.taps) - 1) * self.tap_bytes for span in self.spans]
        ahead = [abs(b.taps.start - a.taps.start) * self.tap_bytes for a, b in pairwise(self.spans)]
        return (self.tap_bytes, self.first_byte, *(-b for b in back), *(self.stride_bytes - b for b in back), *ahead)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.pitch
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            required=() if self.has_absent_rows else tuple(range(len(present))),
            output=self.window.out_width * self.pitch,
            tables={"digits": self.digits.table_bytes(self.channels)},
            padding=0 if all(present) else row,
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        return differences(self.digits, tables["digits"])


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
    return _digits(layer) is not None and all(step in _STEPS for step in _kernel(layer).steps)


def build(layer: Convolution, target: Target) -> Built:
    found = _digits(layer)
    assert found is not None  # it applies
    return Built(_kernel(layer), (found[1],))


def _kernel(layer: Convolution) -> DepthwiseConv2D:
    found = _digits(layer)
    assert found is not None
    digits, table = found
    return DepthwiseConv2D(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name + layer.window.row.name,
        tables=parameters_of((table,)),
        window=layer.window.row,
        channels=layer.in_channels,
        pitch=layer.input.pixel_bytes(layer.in_channels),
        has_absent_rows=layer.window.has_absent_rows,
        zero=layer.stored_zero,
        digits=digits,
    )


@lru_cache(maxsize=4)  # it applies, and is built
def _digits(layer: Convolution) -> tuple[LaneDigits, Table] | None:
    return build_lane_digits(layer)
