"""Compute a 1x1 convolution of two input channels or more with dual 16-bit multiply-accumulate.

Two output channels of at most four inputs keep their weights in registers and go pixel by pixel; otherwise weights are
loaded once for a block of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.armv7e_m.pairs import choose_int16_requantizer, of_bytes, pack_fours
from codegen.kernels.blocks import Blocks, blocks_of
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Epilogue
from codegen.program.kernel import Accesses, Built, Kernel, Present, Table, parameters_of
from codegen.program.target import Target

_FOURS_PER_STEP = 2  # between jumps, chosen like the numbers of codegen.program.target


@dataclass(frozen=True, kw_only=True)
class Conv2DPointwise(Kernel):
    """`four_blocks`: groups of four input channels; what is left of them is `rest`.

    `step_back_pixels`: where the row is no multiple of `pixels`, its last block begins so much earlier.
    `flips_sign`: the input is int8, whose sign bit is flipped to make bytes plus 128.
    """

    in_channels: int
    out_channels: int
    channel_blocks: tuple[Blocks, ...]
    pixels: int
    pixel_blocks: int
    step_back_pixels: int
    four_blocks: tuple[Blocks, ...]
    flips_sign: bool
    epilogue: Epilogue

    never_inlined = True

    @property
    def requires(self) -> tuple[str, ...]:
        return *self.epilogue.requires, "smlad", *(("load_word",) if self.four_blocks else ())

    @property
    def rest(self) -> int:
        return self.in_channels % 4

    @property
    def words(self) -> int:
        """Of weights, for each output channel."""
        return self.in_channels // 4 * 2 + -(-self.rest // 2)

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        pixels = self.pixels * self.pixel_blocks - self.step_back_pixels
        channels = sum(blocks.size * blocks.count for blocks in self.channel_blocks)
        last_channel = max(blocks.end for blocks in self.channel_blocks)
        inputs = 4 * sum(blocks.size * blocks.count for blocks in self.four_blocks) + self.rest
        return Accesses(
            rows=((pixels - 1) * self.in_channels + inputs,),
            required=(0,),
            output=(pixels - 1) * self.out_channels + last_channel,
            tables={"channels": channels * self.epilogue.numbers, "weights": channels * self.words},
        )


def applies(layer: Convolution, target: Target) -> bool:
    return target.dual_multiply and layer.is_pointwise and layer.in_channels > 1


def build(layer: Convolution, target: Target) -> Built:
    requantizer = choose_int16_requantizer(of_bytes(layer), target)
    words = pack_fours(layer.taps * requantizer.factor)
    in_registers, width = len(words) <= 2, layer.window.out_width
    pixels = min(1 if in_registers else target.pixels_per_block, width)
    channel_blocks = blocks_of(layer.out_channels, 2 if in_registers else target.channels_per_block)
    spans = [span for blocks in channel_blocks for span in blocks.spans]
    weights = np.concatenate([words[:, span.start : span.stop].reshape(-1) for span in spans])
    tables = requantizer.table_of_blocks(spans), Table("weights", weights, 8)
    kernel = Conv2DPointwise(
        inputs=(layer.input,),
        output=layer.output,
        shape_name=layer.width_name,
        tables=parameters_of(tables),
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        channel_blocks=channel_blocks,
        pixels=pixels,
        pixel_blocks=-(-width // pixels),
        step_back_pixels=-width % pixels,
        four_blocks=blocks_of(layer.in_channels // 4, _FOURS_PER_STEP),
        flips_sign=layer.input.bias == 0,
        epilogue=requantizer.epilogue,
    )
    return Built(kernel, tables)
