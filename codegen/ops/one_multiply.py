"""Fast row kernels for convolutions whose requantization is one multiply (codegen.high_mul).

The factor c of each channel is folded into int32 weights, zero point and bias into the start value of its sum. What
the multiply yields is the output byte before its clamp to [0, 255]; an int8 output is that byte minus 128.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codegen.high_mul import HighMul, Rescale, WeightedSum, find_high_mul
from codegen.ir import IntArray
from codegen.ops.convolution import Convolution
from codegen.program import Constant, Kernel, Table

CHANNELS_PER_BLOCK = 4
PIXELS_PER_BLOCK = 4


def _scalings(convolution: Convolution, taps: IntArray) -> Sequence[HighMul] | None:
    """One per output channel, or None where a channel has none of the form that the kernels compute.

    `taps` is (taps, channels) as the kernel uses them, on stored values.
    """
    scaling, stored = convolution.scaling, convolution.input
    zero = scaling.input_zero_point + stored.bias
    found = []
    for channel, weights in enumerate(taps.T):
        # sum(w * (stored - zero)) + bias == sum(w * stored) + (bias - zero * sum(w))
        exact = Rescale(
            int(scaling.bias[channel]) - zero * int(weights.sum()),
            int(scaling.multiplier[channel]),
            int(scaling.shift[channel]),
            scaling.low - scaling.output_zero_point,
            scaling.high - scaling.output_zero_point,
        )
        sums = WeightedSum.of_weights(weights, stored.low, stored.high)
        high_mul = find_high_mul(exact, sums, offset=scaling.output_zero_point + 128, sign_correction=True)
        if high_mul is None or high_mul.shift:
            return None
        found.append(high_mul)
    return found


def _store(convolution: Convolution, scalings: Sequence[HighMul]) -> tuple[tuple[str, Constant], ...]:
    """How a sum becomes a byte: the names of C functions, chosen once for the whole layer."""
    low, high = convolution.scaling.low + 128, convolution.scaling.high + 128
    clamp = "clamp_to_byte(" if (low, high) == (0, 255) else f"clamp_to_range({low}, {high}, "
    return (
        ("clamp", clamp),
        ("corrects_sign", tuple(["sign"] if any(s.sign_correction for s in scalings) else [])),
        ("to_output", "(uint8_t)(" if convolution.output.bias else "(int8_t)(-128 + "),
    )


def pointwise(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]] | None:
    """1x1, stride 1: blocks of pixels times blocks of output channels, each weight loaded once for a block."""
    window = convolution.window
    if (window.kernel_height, window.kernel_width, window.stride_width) != (1, 1, 1):
        return None
    scalings = _scalings(convolution, convolution.taps)
    if scalings is None:
        return None
    corrects = any(s.sign_correction for s in scalings)
    blocks = _blocks(convolution.out_channels, CHANNELS_PER_BLOCK)
    values: list[int] = []
    for size, first, count in blocks:
        for start in range(first, first + size * count, size):
            group = range(start, start + size)
            values += [scalings[c].b for c in group] + [scalings[c].multiplier for c in group]
            values += [scalings[c].sign_correction for c in group] if corrects else []
            values += [scalings[c].c * int(tap[c]) for tap in convolution.taps for c in group]
    kernel = Kernel(
        "conv_2d_pointwise",
        f"{window.in_width}x{convolution.in_channels}_to_{convolution.out_channels}",
        (
            ("in_channels", convolution.in_channels),
            ("out_channels", convolution.out_channels),
            ("channel_blocks", tuple(blocks)),
            ("pixel_blocks", tuple(_blocks(window.out_width, PIXELS_PER_BLOCK))),
            *_store(convolution, scalings),
        ),
        (("table", "int32_t"),),
        convolution.input,
        convolution.output,
    )
    return kernel, (Table("table", np.array(values, np.int32), 8),)


def _blocks(total: int, size: int) -> list[tuple[int, int, int]]:
    """(block size, first element, number of blocks): as many whole blocks as fit, then one smaller."""
    whole, rest = divmod(total, size)
    return [(size, 0, whole)] * (whole > 0) + [(rest, whole * size, 1)] * (rest > 0)


def depthwise_3x3(convolution: Convolution) -> tuple[Kernel, tuple[Table, ...]] | None:
    """3x3, stride 1, one pixel of zero padding: weights stay in registers, each value is loaded once for a row."""
    window, scaling = convolution.window, convolution.scaling
    geometry = (window.kernel_height, window.kernel_width, window.stride_width, window.dilation_width, window.pad_left)
    same_size = window.out_width == window.in_width and convolution.in_channels == convolution.out_channels
    if geometry != (3, 3, 1, 1, 1) or not same_size or scaling.input_zero_point + convolution.input.bias != 0:
        return None
    scalings = _scalings(convolution, convolution.taps)
    if scalings is None:
        return None
    corrects = any(s.sign_correction for s in scalings)
    rows = [
        [s.c * int(w) for w in convolution.taps[:, channel]]
        + [s.b, s.multiplier]
        + ([s.sign_correction] if corrects else [])
        for channel, s in enumerate(scalings)
    ]
    kernel = Kernel(
        "depthwise_conv_2d_3x3",
        f"{window.in_width}x{convolution.in_channels}",
        (("width", window.in_width), ("channels", convolution.in_channels), *_store(convolution, scalings)),
        (("table", "int32_t"),),
        convolution.input,
        convolution.output,
    )
    return kernel, (Table("table", np.array(rows, np.int32).reshape(-1), len(rows[0])),)
