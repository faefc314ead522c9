"""Pool maxima with small windows that never overhang the image: all taps are written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.pooling import Pooling
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table
from codegen.program.target import Target

MAX_TAPS = 9


@dataclass(frozen=True, kw_only=True)
class MaxPool2DInside(Kernel):
    channels: int
    kernel_height: int
    kernel_width: int
    stride_width: int
    out_width: int
    limits: tuple[int, int] | None  # of the activation, as stored

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        """Every row pointer goes forward by the same steps, the last taps standing furthest on."""
        row = ((self.out_width - 1) * self.stride_width + self.kernel_width) * self.channels
        rows = range(self.kernel_height)
        return Accesses((row,) * len(rows), self.out_width * self.channels, required=tuple(rows))


def applies(layer: Pooling, target: Target) -> bool:
    return not layer.window.overhangs and 1 < layer.window.kernel_height * layer.window.kernel_width <= MAX_TAPS


def build(layer: Pooling, target: Target) -> Built:
    window = layer.window
    kernel = MaxPool2DInside(
        inputs=(layer.storage,),
        output=layer.storage,
        shape_name=layer.name,
        channels=layer.channels,
        kernel_height=window.kernel_height,
        kernel_width=window.kernel_width,
        stride_width=window.stride_width,
        out_width=window.out_width,
        limits=(layer.low, layer.high) if layer.is_clamped else None,
    )
    return Built(kernel)
