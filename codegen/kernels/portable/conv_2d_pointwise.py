"""Compute a 1x1 convolution in blocks of pixels times output channels: each weight is loaded once for a block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue, choose_requantizer
from codegen.kernels.weighted_layer import weights_table
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True, kw_only=True)
class Conv2DPointwise(Kernel):
    """`step_back_pixels`: where the row is no multiple of a pixel block, its last block begins so much earlier."""

    in_channels: int
    out_channels: int
    channel_blocks: tuple[Blocks, ...]
    pixel_blocks: tuple[Blocks, ...]
    step_back_pixels: int
    input_blocks: tuple[Blocks, ...]
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        pixels = sum(blocks.size * blocks.count for blocks in self.pixel_blocks) - self.step_back_pixels
        channels = sum(blocks.size * blocks.count for blocks in self.channel_blocks)
        last_channel = max(blocks.end for blocks in self.channel_blocks)
        inputs = sum(blocks.size * blocks.count for blocks in self.input_blocks)
        return Accesses(
            rows=((pixels - 1) * self.in_channels + inputs,),
            required=(0,),
            output=(pixels - 1) * self.out_channels + last_channel,
            tables={"channels": channels * self.epilogue.numbers, "weights": channels * inputs},
        )


def applies(layer: Convolution, target: Target) -> bool:
    return layer.is_pointwise


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_requantizer(layer, target)
    scaled = layer.taps * requantizer.factor
    channel_blocks = blocks_of(layer.out_channels, target.channels_per_block)
    spans = [span for blocks in channel_blocks for span in blocks.spans]
    weights = np.concatenate([scaled[:, span.start : span.stop].reshape(-1) for span in spans])
    width = layer.window.out_width
    pixels = min(target.pixels_per_block, width)
    tables = requantizer.table_of_blocks(spans), weights_table(weights, 16)
    kernel = Conv2DPointwise(
        inputs=(layer.input,),
        output=layer.output,
        tables=parameters_of(tables),
        shape_name=layer.width_name,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        channel_blocks=channel_blocks,
        pixel_blocks=blocks_of(width, pixels) if target.splits_rows else (Blocks(pixels, -(-width // pixels)),),
        step_back_pixels=0 if target.splits_rows else -width % pixels,
        input_blocks=blocks_of(layer.in_channels, target.inputs_per_step),
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
