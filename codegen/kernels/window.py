"""Describe sliding windows, the geometry that convolutions and pooling share.

Source of the padding rule: ComputePaddingHeightWidth in tensorflow/lite/kernels/padding.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import read_activation
from codegen.program.program import RowRead

MAX_WINDOW = 1 << 16  # places; the whole of a picture of 240x240
MAX_STEP = 32767  # TFLM's ConvParams has 16 bits for strides and dilations
MAX_OVERHANG = 4  # times the picture's side, above 32: the rest of a window lies outside at every place


@dataclass(frozen=True)
class RowWindow:
    """What a kernel of one output row needs of a `Window`; which rows it reads is the schedule's business."""

    in_width: int
    kernel_height: int
    kernel_width: int
    stride_width: int
    dilation_width: int
    pad_left: int
    out_width: int

    def columns(self, kx: int) -> IntArray:
        """Input column read by tap `kx` for each output column; out of range where the tap is skipped."""
        return np.arange(self.out_width) * self.stride_width - self.pad_left + kx * self.dilation_width

    @property
    def last_column(self) -> int:
        """The last one that any tap reads; -1 where all hang over."""
        columns = np.concatenate([self.columns(kx) for kx in range(self.kernel_width)])
        return int(columns[(columns >= 0) & (columns < self.in_width)].max(initial=-1))

    @property
    def interior(self) -> range:
        """Output columns whose windows lie inside the image's width; empty, at the end, where every one overhangs."""
        inside = (self.columns(0) >= 0) & (self.columns(self.kernel_width - 1) < self.in_width)
        first = int(np.flatnonzero(inside)[0]) if inside.any() else self.out_width
        return range(first, first + int(inside.sum()))

    @property
    def name(self) -> str:
        name = f"_k{self.kernel_height}x{self.kernel_width}_s{self.stride_width}"
        name += f"_d{self.dilation_width}" if self.dilation_width > 1 else ""
        return name + ("_same" if self.pad_left else "")


@dataclass(frozen=True)
class Window:
    """A kernel sliding over an image, in pixels. Taps outside the image are skipped, not read."""

    in_height: int
    in_width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    pad_top: int
    pad_left: int
    out_height: int
    out_width: int

    @property
    def row(self) -> RowWindow:
        return RowWindow(
            self.in_width,
            self.kernel_height,
            self.kernel_width,
            self.stride_width,
            self.dilation_width,
            self.pad_left,
            self.out_width,
        )

    @property
    def reads(self) -> tuple[RowRead, ...]:
        return tuple(RowRead(0, tuple(self.rows(ky).tolist())) for ky in range(self.kernel_height))

    @property
    def summary(self) -> str:
        text = f"{self.kernel_height}x{self.kernel_width} window, stride {self.stride_height}x{self.stride_width}"
        if (self.dilation_height, self.dilation_width) != (1, 1):
            text += f", dilation {self.dilation_height}x{self.dilation_width}"
        return f"{text}, {'padded' if self.overhangs else 'unpadded'}"

    @property
    def has_absent_rows(self) -> bool:
        """Whether any tap lies above or below the image."""
        return any(not 0 <= row < self.in_height for ky in range(self.kernel_height) for row in self.rows(ky))

    @property
    def overhangs(self) -> bool:
        """Whether any tap is skipped."""
        last_y = (self.out_height - 1) * self.stride_height + (self.kernel_height - 1) * self.dilation_height
        last_x = (self.out_width - 1) * self.stride_width + (self.kernel_width - 1) * self.dilation_width
        ends = last_y - self.pad_top >= self.in_height or last_x - self.pad_left >= self.in_width
        return ends or self.pad_top > 0 or self.pad_left > 0

    def rows(self, ky: int) -> IntArray:
        """Input row read by tap `ky` for each output row; out of range where the tap is skipped."""
        return np.arange(self.out_height) * self.stride_height - self.pad_top + ky * self.dilation_height

    def columns(self, kx: int) -> IntArray:
        return self.row.columns(kx)

    def gather(self, image: IntArray, ky: int, kx: int, fill: int) -> IntArray:
        """int64 (H, W, C) -> (out_height, out_width, C): the pixel under tap (ky, kx), `fill` where skipped."""
        rows, columns = self.rows(ky), self.columns(kx)
        row_ok = (rows >= 0) & (rows < self.in_height)
        column_ok = (columns >= 0) & (columns < self.in_width)
        taken = image[np.clip(rows, 0, self.in_height - 1)][:, np.clip(columns, 0, self.in_width - 1)]
        return np.where((row_ok[:, None] & column_ok[None, :])[..., None], taken, fill)


def read_window_options(options: Any, kernel: tuple[int, int] | None = None) -> dict[str, int | str]:
    """Read strides, padding and activation of a Conv2D / DepthwiseConv2D / Pool2D options table."""
    read: dict[str, int | str] = {
        "padding": {tflite.Padding.SAME: "same", tflite.Padding.VALID: "valid"}[options.Padding()],
        "stride_height": options.StrideH(),
        "stride_width": options.StrideW(),
        "activation": read_activation(options.FusedActivationFunction()),
    }
    if kernel is None:
        read |= {"dilation_height": options.DilationHFactor(), "dilation_width": options.DilationWFactor()}
    else:
        read |= {"kernel_height": kernel[0], "kernel_width": kernel[1]}
    return read


def _padding(size: int, kernel: int, stride: int, dilation: int, same: bool) -> tuple[int, int]:
    """Compute (output size, padding before the first pixel)."""
    extent = (kernel - 1) * dilation + 1
    if not same:
        return (size - extent + stride) // stride, 0
    out = (size + stride - 1) // stride
    return out, max((out - 1) * stride + extent - size, 0) // 2


def make_window(graph: Graph, operator: Operator, kernel: tuple[int, int]) -> Window:
    """Make the window of a verified operator. Raises ModelError where the stated output shape differs."""
    image, out = graph.tensor(operator.inputs[0]).shape, graph.tensor(operator.outputs[0]).shape
    if len(image) != 4 or len(out) != 4 or image[0] != 1 or out[0] != 1:
        raise UnsupportedError(f"{operator.label} works on {image}, not (1, height, width, channels)")
    option = {name: int(value) for name, value in operator.options.items() if not isinstance(value, str)}
    same = operator.options["padding"] == "same"
    strides = option["stride_height"], option["stride_width"]
    dilations = option.get("dilation_height", 1), option.get("dilation_width", 1)
    if min(*strides, *dilations, *kernel) < 1:
        raise ModelError(f"{operator.label} has a stride, dilation or window below 1")
    if max(*strides, *dilations) > MAX_STEP:
        raise UnsupportedError(f"{operator.label} has a stride or dilation beyond {MAX_STEP:,}, which TFLM cuts off")
    if kernel[0] * kernel[1] > MAX_WINDOW:
        size = f"{kernel[0]}x{kernel[1]}"
        raise UnsupportedError(f"{operator.label} has a window of {size}, more than {MAX_WINDOW:,} places")
    if any(side > max(32, MAX_OVERHANG * of) for side, of in zip(kernel, image[1:3], strict=True)):
        raise CompilerLimit(
            f"{operator.label} has a window of {kernel[0]}x{kernel[1]} on a picture of {image[1]}x{image[2]}",
            hint="pool over the picture's own size",
        )
    height, top = _padding(image[1], kernel[0], strides[0], dilations[0], same)
    width, left = _padding(image[2], kernel[1], strides[1], dilations[1], same)
    if (height, width) != (out[1], out[2]):
        raise ModelError(f"{operator.label} states output {out[1]}x{out[2]}, its window gives {height}x{width}")
    return Window(image[1], image[2], *kernel, *strides, *dilations, top, left, height, width)
