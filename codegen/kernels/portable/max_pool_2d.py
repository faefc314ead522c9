"""Pool maxima with any window; taps outside the image are skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.pooling import Pooling
from codegen.kernels.window import RowWindow
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class MaxPool2D(Kernel):
    window: RowWindow
    channels: int
    low: int  # of the activation, as stored
    high: int

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.channels
        return Accesses(tuple(row if there else 0 for there in present), self.window.out_width * self.channels)


def applies(layer: Pooling, target: Target) -> bool:
    return True


def build(layer: Pooling, target: Target) -> Built:
    kernel = MaxPool2D(
        inputs=(layer.storage,),
        output=layer.storage,
        shape_name=layer.name,
        window=layer.window.row,
        channels=layer.channels,
        low=layer.low,
        high=layer.high,
    )
    return Built(kernel)
