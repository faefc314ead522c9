"""Average pooling with any window: the rounded mean of what of it lies inside the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.pooling import Pooling
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class AveragePool2D(Kernel):
    """`pixels`: of a window, where all lie inside the image; else 0."""

    window: RowWindow
    channels: int
    pixels: int
    low: int  # of the activation, int8
    high: int

    @property
    def is_clamped(self) -> bool:
        return (self.low, self.high) != (-128, 127)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.channels
        required = tuple(range(len(present))) if self.pixels else ()
        return Accesses(
            tuple(row if there else 0 for there in present), self.window.out_width * self.channels, required=required
        )


def applies(layer: Pooling, target: Target) -> bool:
    return True


def build(layer: Pooling, target: Target) -> Built:
    window, bias = layer.window, layer.storage.bias
    kernel = AveragePool2D(
        inputs=(layer.storage,),
        output=layer.storage,
        shape_name=layer.name,
        window=window.row,
        channels=layer.channels,
        pixels=0 if window.overhangs else window.kernel_height * window.kernel_width,
        low=layer.low - bias,
        high=layer.high - bias,
    )
    return Built(kernel)
