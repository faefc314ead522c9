"""Describe layers that add up weights times values: scaling, accumulator bounds, weight tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier
from codegen.errors import UnsupportedError
from codegen.graph.graph import IntArray
from codegen.program.kernel import Storage, Table
from codegen.program.program import AccumulatorBound

INT16_MAX = 32767
MAX_LEFT_SHIFT = 30  # 1 << 31 does not fit int32


@dataclass(frozen=True, eq=False)
class Requantization:
    """Per output channel: bias, multiplier and shift (int64 arrays); zero points and clamp of the output."""

    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int

    def apply(self, accumulator: IntArray) -> IntArray:
        """(..., channels) sums of products, without bias -> int8 values as int64."""
        scaled = multiply_by_quantized_multiplier(accumulator + self.bias, self.multiplier, self.shift)
        return np.clip(scaled + self.output_zero_point, self.low, self.high)


def with_positive_multipliers(scaling: Requantization, taps: IntArray) -> tuple[Requantization, IntArray]:
    """Return the same function, of weights whose scales are all positive: int64 (taps, out_channels).

    Old converters give dead channels tiny negative scales. A sum times a negative multiplier is the negated sum times
    its magnitude; where the multiplier is 0, no sum matters.
    """
    sign = np.sign(scaling.multiplier)
    bias, multiplier = scaling.bias * sign, np.abs(scaling.multiplier)
    return replace(scaling, bias=bias, multiplier=multiplier), taps * sign


@dataclass(frozen=True, eq=False)
class WeightedLayer:
    """Sums of weights times values, and their scaling. `taps` is (taps, out_channels)."""

    scaling: Requantization
    taps: IntArray
    input: Storage
    output: Storage

    @property
    def out_channels(self) -> int:
        return int(self.taps.shape[1])

    @property
    def stored_zero(self) -> int:
        """The byte, as stored, that stands for real 0 of the input, and so for what lies outside an image."""
        return self.scaling.input_zero_point + self.input.bias


def accumulator_bound(layer: WeightedLayer, label: str) -> AccumulatorBound:
    """Bound every partial sum of every channel.

    A tap contributes w * (q - zero_point) for q in int8, or nothing where the window overhangs; so the sums of the
    negative and of the positive extremes bound all partial sums. Raises UnsupportedError, which begins with `label`,
    where int32 could overflow, before or after the left shift of the requantization.
    """
    scaling = layer.scaling
    reach = np.array([-128, 127]) - scaling.input_zero_point
    extremes = layer.taps[..., None] * reach
    low = np.minimum(extremes.min(-1), 0).sum(0) + np.minimum(scaling.bias, 0)
    high = np.maximum(extremes.max(-1), 0).sum(0) + np.maximum(scaling.bias, 0)
    if int(scaling.shift.max()) > MAX_LEFT_SHIFT:
        raise UnsupportedError(
            f"{label}: the output's scale is too small for its input and weights",
            hint="TFLite's own kernels would overflow here; calibrate with real images",
        )
    shifted = np.maximum(-low, high) << np.maximum(scaling.shift, 0)
    if int(shifted.max()) > INT32_MAX:
        raise UnsupportedError(
            f"{label}: channel {int(shifted.argmax())} can overflow its int32 accumulator",
            hint="TFLite's own kernels would wrap around here; train with smaller weights or biases",
        )
    return AccumulatorBound(int(low.min()), int(high.max()))


def weights_table(weights: IntArray, per_line: int, phases: int = 1) -> Table:
    """Make the table of a kernel's weights: int16 where all of them fit."""
    flat = weights.reshape(-1)
    narrow = np.abs(flat).max(initial=0) <= INT16_MAX
    return Table("weights", flat.astype(np.int16) if narrow else flat.astype(np.int32), per_line, phases)
