"""Choose how a layer's sums become its output bytes: the requantization epilogue of its kernel, and its numbers.

The factor c of each channel (codegen.arithmetic.one_multiply_search) is folded into its weights, zero point and bias
into the start value of its sum. A layer that has no such factors keeps the same loops and ends in the exact 64-bit form
instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from codegen.arithmetic.one_multiply_search import (
    MAX_SHIFT,
    HighMul,
    RequantizedChannel,
    Rescale,
    WeightedSum,
    find_layer,
)
from codegen.arithmetic.requantize import INT32_MAX
from codegen.graph.graph import IntArray
from codegen.kernels.weighted_layer import INT16_MAX, WeightedLayer
from codegen.program.kernel import Storage, Table
from codegen.program.target import Target

Channel = tuple[Rescale, WeightedSum]


@dataclass(frozen=True)
class Epilogue:
    """How a sum becomes the stored byte, which templates/aot/kernels/epilogue.c.j2 prints.

    one_multiply: sum += (sum >> 31) & sign correction, where there is one; high half of sum * multiplier; >> `shift`;
    + `offset`, which makes a byte plus 128 of it where `clamp` is not int8; clamped; stored as `output` is.
    shift: sum += (sum >> 31) & `correction`, where there is a sign correction; + `offset`; >> `shift`; the rest alike.
    two_roundings: TFLite's own, to the output's zero point and limits as stored.

    `clamp`: to `low` .. `high`, which for byte are 0 .. 255 and for int8 -128 .. 127.
    """

    kind: Literal["one_multiply", "shift", "two_roundings"]
    shift: int
    sign_correction: bool
    zero_point: int  # the output's
    offset: int
    clamp: Literal["byte", "int8", "range"]
    low: int
    high: int
    output: Storage
    correction: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Numbers of each channel, behind the start value of its sum."""
        if self.kind == "shift":
            return ()
        if self.kind == "two_roundings":
            return "multiplier", "shift"
        return ("multiplier", "sign_correction") if self.sign_correction else ("multiplier",)

    @property
    def numbers(self) -> int:
        """Of each channel, with the start value."""
        return 1 + len(self.columns)

    @property
    def requires(self) -> tuple[str, ...]:
        """Functions of templates/aot/arithmetic."""
        if self.kind == "two_roundings":
            return ("requantize",)
        clamps = {"byte": "clamp_to_byte", "range": "clamp_to_range"}
        clamp = clamps.get(self.clamp, "clamp_to_biased_byte" if self.output.bias else "clamp_to_int8")
        return (clamp,) if self.kind == "shift" else ("high_mul", clamp)

    def shifted(self, sums: IntArray) -> IntArray:
        """Return what the C of the kind "shift" stores for given sums."""
        corrected = sums + (sums < 0) * self.correction
        clamped = np.clip((corrected + self.offset) >> self.shift, self.low, self.high)
        return np.asarray(clamped + self.output.bias - self.raised, np.int64)

    @property
    def raised(self) -> int:
        """By how much results exceed int8 when they are clamped."""
        return 0 if self.clamp == "int8" else 128


@dataclass(frozen=True)
class Requantizer:
    """An epilogue with each channel's integers: weights are multiplied by `factor`, sums begin at `start`."""

    epilogue: Epilogue
    factor: IntArray
    start: tuple[int, ...]
    columns: Mapping[str, tuple[int, ...]]  # by name, then channel
    channels: tuple[RequantizedChannel, ...]

    def table(self) -> Table:
        """Channel after channel: the start value, then the columns."""
        return self._table(np.stack(self._rows, axis=1).reshape(-1), self.epilogue.numbers)

    def table_of_blocks(self, spans: Sequence[range]) -> Table:
        """Block after block of channels: their start values, then each column."""
        numbers = [row[span.start : span.stop] for span in spans for row in self._rows]
        return self._table(np.concatenate(numbers), len(spans[0]))

    @property
    def _rows(self) -> tuple[IntArray, ...]:
        return tuple(np.array(row, np.int64) for row in (self.start, *self.columns.values()))

    def _table(self, numbers: IntArray, per_line: int) -> Table:
        return Table("channels", numbers.astype(np.int32), per_line, channels=self.channels)


def choose_requantizer(
    weighted: WeightedLayer,
    target: Target,
    *,
    largest_weights: Sequence[int] = (),
    max_weights: Iterable[int] = (INT16_MAX, INT32_MAX),
) -> Requantizer:
    """Find the cheapest exact form: one multiply (and a shift), that with a sign correction, 64-bit double rounding.

    `largest_weights` by channel, where the kernel's weights are sums of taps; `max_weights` by preference.
    `accumulator_bound` covers the last form too, although it adds stored values to a folded start: 0 is a value that
    every tap can have, so each partial sum is the final sum of some input.
    """
    scaling, channels = weighted.scaling, _channels(weighted)
    for c, largest in enumerate(largest_weights):
        channels[c] = channels[c][0], replace(channels[c][1], largest_weight=largest)
    clamp = choose_clamp(scaling.low, scaling.high, target)
    raised = 0 if clamp == "int8" else 128
    # The offset of the first form is free; -1 suits the sign correction best (docs/adr/0006).
    for corrects, offset in ((False, scaling.output_zero_point + raised), (True, -1)):
        for max_weight in max_weights:
            layer = find_layer(
                channels, max_weight=max_weight, max_shift=MAX_SHIFT, sign_correction=corrects, offset=offset
            )
            if layer is not None:
                return _one_multiply(weighted, channels, layer, clamp, raised, offset)
    return _exactly(weighted, channels)


def exact_requantizer(weighted: WeightedLayer) -> Requantizer:
    """Requantize with TFLite's own two roundings, whose sums are of weights as they are."""
    return _exactly(weighted, _channels(weighted))


def _channels(weighted: WeightedLayer) -> list[Channel]:
    """Bound what each channel adds up of stored values, and state the exact function of it."""
    scaling, stored, zero = weighted.scaling, weighted.input, weighted.stored_zero
    # sum(w * (stored - zero)) + bias == sum(w * stored) + (bias - zero * sum(w))
    start = [int(b) - zero * int(w.sum()) for b, w in zip(scaling.bias, weighted.taps.T, strict=True)]
    limits = scaling.low - scaling.output_zero_point, scaling.high - scaling.output_zero_point
    return [
        (
            Rescale(start[c], int(scaling.multiplier[c]), int(scaling.shift[c]), *limits),
            WeightedSum.of_weights(weights, stored.low, stored.high),
        )
        for c, weights in enumerate(weighted.taps.T)
    ]


def choose_clamp(low: int, high: int, target: Target) -> Literal["byte", "int8", "range"]:
    """Choose the cheapest clamp to int8 limits."""
    if (low, high) != (-128, 127):
        return "range"
    return "int8" if target.signed_clamp else "byte"


def two_roundings(zero_point: int, output: Storage, low: int = -128, high: int = 127) -> Epilogue:
    """Make TFLite's own requantization of sums to int8 limits `low` .. `high`."""
    limits = low + output.bias, high + output.bias
    return Epilogue("two_roundings", 0, False, zero_point, 0, "range", *limits, output)


def _exactly(weighted: WeightedLayer, channels: Sequence[Channel]) -> Requantizer:
    scaling = weighted.scaling
    return Requantizer(
        two_roundings(scaling.output_zero_point, weighted.output, scaling.low, scaling.high),
        np.ones(len(channels), np.int64),
        tuple(exact.bias for exact, _ in channels),
        {"multiplier": tuple(scaling.multiplier.tolist()), "shift": tuple(scaling.shift.tolist())},
        tuple(RequantizedChannel(exact, sums, None) for exact, sums in channels),
    )


def _one_multiply(
    weighted: WeightedLayer,
    channels: Sequence[Channel],
    layer: Sequence[HighMul],
    clamp: Literal["byte", "int8", "range"],
    raised: int,
    offset: int,
) -> Requantizer:
    """Make it of one multiply; the scaled sum is the output minus its zero point plus `offset`."""
    scaling, corrects = weighted.scaling, any(channel.sign_correction for channel in layer)
    rest = scaling.output_zero_point + raised - offset
    columns = {"multiplier": tuple(channel.multiplier for channel in layer)}
    if corrects:
        columns["sign_correction"] = tuple(channel.sign_correction for channel in layer)
    low, high = scaling.low + raised, scaling.high + raised
    return Requantizer(
        Epilogue(
            "one_multiply", layer[0].shift, corrects, scaling.output_zero_point, rest, clamp, low, high, weighted.output
        ),
        np.array([channel.c for channel in layer], np.int64),
        tuple(channel.b for channel in layer),
        columns,
        tuple(RequantizedChannel(*channel, found) for channel, found in zip(channels, layer, strict=True)),
    )
