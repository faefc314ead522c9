"""Transposed convolution, seen from the output: each pixel adds the taps that meet an input pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import WeightedLayer, weights_table
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True)
class Geometry:
    """Of one row; `pad_left`: output columns before the first that belong to the first pixel's window."""

    in_width: int
    in_channels: int
    kernel_height: int
    kernel_width: int
    stride_width: int
    pad_left: int
    out_width: int


@dataclass(frozen=True, kw_only=True)
class TransposeConv(Kernel):
    geometry: Geometry
    out_channels: int
    zero_point: int  # of the input, as stored
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        g = self.geometry
        row = g.in_width * g.in_channels
        taps = g.kernel_height * g.kernel_width * g.in_channels
        sizes = {"channels": self.out_channels * self.epilogue.numbers, "weights": self.out_channels * taps}
        return Accesses(tuple(row if there else 0 for there in present), g.out_width * self.out_channels, tables=sizes)


def build(layer: WeightedLayer, geometry: Geometry, target: Target) -> Built:
    """`layer.taps` go by window row, column and input channel."""
    # Which taps an output pixel has depends on where it lies, so the zero point is taken from each value instead of
    # from the sum's start: values as if real 0 were stored as 0.
    zero = layer.scaling.input_zero_point
    centred = replace(layer, input=Storage(-zero))
    requantizer = choose_requantizer(centred, target)
    weights = (layer.taps * requantizer.factor).T
    tables = requantizer.table(), weights_table(weights, 16)
    kernel = TransposeConv(
        inputs=(layer.input,),
        output=layer.output,
        tables=parameters_of(tables),
        shape_name=f"{geometry.in_width}x{geometry.in_channels}_to_{geometry.out_width}x{layer.out_channels}",
        geometry=geometry,
        out_channels=layer.out_channels,
        zero_point=zero + layer.input.bias,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
