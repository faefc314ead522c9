"""Average pooling with any window: the rounded mean of what of it lies inside the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.pooling import Pooling
from codegen.kernels.window import RowWindow
from codegen.program.kernel import SUMS, Accesses, Built, Kernel, Present, Storage, Table
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class AveragePool2D(Kernel):
    """`pixels`: of a window, where all lie inside the image; else 0. Where the input is sums over windows, the kernel's
    own window is one place."""

    window: RowWindow
    channels: int
    pixels: int
    low: int  # of the activation, int8
    high: int

    @property
    def is_clamped(self) -> bool:
        return (self.low, self.high) != (-128, 127)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.channels * self.inputs[0].value_bytes
        required = tuple(range(len(present))) if self.pixels else ()
        return Accesses(
            tuple(row if there else 0 for there in present), self.window.out_width * self.channels, required=required
        )


def applies(layer: Pooling, target: Target) -> bool:
    return True


def build(layer: Pooling, target: Target) -> Built:
    return _build(layer, layer.window.row, layer.storage, layer.name)


def build_of_sums(layer: Pooling) -> Built:
    """Build the kernel that divides sums over whole windows, of a layer whose windows lie inside the image."""
    width = layer.window.out_width
    place = RowWindow(width, 1, 1, 1, 1, 0, width)
    return _build(layer, place, SUMS, f"{width}x{layer.channels}_of_sums")


def _build(layer: Pooling, window: RowWindow, source: Storage, name: str) -> Built:
    bias = layer.storage.bias
    kernel = AveragePool2D(
        inputs=(source,),
        output=layer.storage,
        shape_name=name,
        window=window,
        channels=layer.channels,
        pixels=0 if layer.window.overhangs else layer.taps,
        low=layer.low - bias,
        high=layer.high - bias,
    )
    return Built(kernel)
