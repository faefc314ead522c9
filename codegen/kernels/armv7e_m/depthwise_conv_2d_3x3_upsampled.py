"""Upsample and compute a depthwise 3x3 with dual multiply-accumulate: two source rows to a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.armv7e_m.pairs import choose_int16_requantizer, pack_pairs
from codegen.kernels.convolution import UpsampledDepthwise
from codegen.kernels.epilogue import Epilogue
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D3x3Upsampled(Kernel):
    width: int  # of the source
    channels: int
    epilogue: Epilogue

    never_inlined = True

    @property
    def requires(self) -> tuple[str, ...]:
        return *self.epilogue.requires, "smlad"

    @property
    def padding_value(self) -> int | None:
        return 0

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = self.width * self.channels
        return Accesses(
            rows=tuple(row if there else 0 for there in present),
            output=2 * row,
            tables={"channels": self.channels * self.epilogue.numbers, "weights": self.channels * 4},
            padding=0 if all(present) else row,
        )


def applies(layer: UpsampledDepthwise, target: Target) -> bool:
    return target.dual_multiply and layer.is_same_3x3_of_zero


def build(layer: UpsampledDepthwise, target: Target) -> Built:
    convolution, sums = layer.convolution, layer.sums()
    requantizer = choose_int16_requantizer(convolution, target, np.abs(sums).max((0, 2)).tolist())
    weights = sums * requantizer.factor[:, None]
    words = pack_pairs(weights[:, :, :4], weights[:, :, 4:])
    tables = requantizer.table(), Table("weights", words.reshape(-1), 4, phases=layer.factor)
    kernel = DepthwiseConv2D3x3Upsampled(
        inputs=(convolution.input,),
        output=convolution.output,
        shape_name=convolution.width_name,
        tables=parameters_of(tables),
        width=layer.source_width,
        channels=convolution.in_channels,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
