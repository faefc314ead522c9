"""Find channels without effect on any possible input, by interval arithmetic over a network.

Each activation lies between two bounds that follow from the weights and from the image's range, at each position of the
filter on the picture (padding is 0). Where both bounds are one value, the channel is that constant for every input, and
what it adds behind it is one as well. Rounding in quantization-aware models is monotone, so bounds pass through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nanou_train.networks.channel_graph import IMAGE, LOGITS, Reader, activation_layers, readers
from nanou_train.networks.rebuild import layer_names, ranges_of
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.evidence import mixing_layer
from nanou_train.pruning.importance import places_of

if TYPE_CHECKING:
    import keras

Float = npt.NDArray[np.float64]
Kind = Literal["zero", "constant", "unused", "duplicate"]
SLACK = 1e-5  # of a sum's largest term: what float32 may add up differently
TOP = 6.0  # of ReLU6
ALIKE = 1e-6


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds (C,) of the values that any input can give; a constant where they are equal."""

    low: Float
    high: Float

    @property
    def is_constant(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.low == self.high)


@dataclass(frozen=True)
class Finding:
    """A channel of `block` that can go. `zero`: it is always 0 where it is mixed with others; `constant`: always
    another value; `unused`: nobody listens; `duplicate`: another channel, `twin`, says the same, up to a factor."""

    block: str
    channel: int
    kind: Kind
    twin: int | None = None


@dataclass(frozen=True, eq=False)
class Effect:
    """Bounds inside a reader: of its filtered inputs (I), and of their mixture (O).

    `inputs` and `mixed` (I,) are before and after the depthwise filters, the same where there are none; these are
    `filters` (I, n), normalization folded in, its offset last. `kernel` mixes; `sums` (O, m) are its rows, folded
    likewise, empty for the logits. `rounds` is set in quantization-aware models.
    """

    inputs: Bounds
    mixed: Bounds
    filters: Float | None
    kernel: Float
    sums: Float
    rounds: bool


def effects_of(model: keras.Model) -> dict[str, Effect]:
    """Compute the bounds of every reader of a model that `build_model` made, quantization-aware or not."""
    structure, ranges = structure_of(model), ranges_of(model)
    count, darkest = structure.input_shape[2], -128.0 / 127.0 if ranges else -1.0
    known = {IMAGE: Bounds(np.full(count, darkest), np.full(count, 1.0))}
    found: dict[str, Effect] = {}
    for reader in readers(structure):
        inputs = Bounds(
            np.concatenate([known[slot.producer].low for slot in reader.slots]),
            np.concatenate([known[slot.producer].high for slot in reader.slots]),
        )
        names, mixed, filters = layer_names(structure, reader.name), inputs, None
        if reader.is_separable:
            taps = effective_kernel(model, names["spatial"])[..., 0][:, :, :, None]  # (k, k, I, 1)
            affine = affine_of(model, names["spatial_bn"])
            filtered = _convolved(inputs, taps, reader, each=True)
            mixed = _normalized(filtered, affine, _activation(ranges, activation_layers(structure, reader.name)[0]))
            filters = _folded(taps[..., 0], affine)
        kernel, sums = effective_kernel(model, mixing_layer(structure, reader)), np.empty((0, 0))
        if reader.name != LOGITS:
            affine = affine_of(model, names["point_bn" if reader.is_separable else "spatial_bn"])
            relu = activation_layers(structure, reader.name)[-1]
            convolved = _convolved(mixed, kernel, reader, each=False)
            known[reader.name] = _normalized(convolved, affine, _activation(ranges, relu))
            sums = _folded(kernel, affine)
        found[reader.name] = Effect(inputs, mixed, filters, kernel, sums, bool(ranges))
    return found


def find_dead(model: keras.Model, effects: Mapping[str, Effect] | None = None) -> tuple[Finding, ...]:
    """Find all channels that are constant wherever they are read, are read with weight 0, or repeat another one.

    Constants other than 0 count where they can be folded into what follows exactly: not behind padding. `effects` are
    those of `effects_of`, if they are known already.
    """
    structure, effects = structure_of(model), effects or effects_of(model)
    found: list[Finding] = []
    for block in readers(structure):
        if block.name == LOGITS:
            continue
        places = places_of(structure, block.name)
        alive = []
        for channel in range(block.width):
            kinds = {silence_of(reader, effects[reader.name], at + channel) for reader, at in places}
            if None in kinds:
                alive.append(channel)
            else:
                kind: Kind = "constant" if "constant" in kinds else "unused" if "unused" in kinds else "zero"
                found.append(Finding(block.name, channel, kind))
        found += _duplicates(structure, block, alive, effects)
    return tuple(found)


def duplicate_factors(
    structure: Structure, finding: Finding, effects: Mapping[str, Effect]
) -> dict[tuple[str, int], float]:
    """Compute how many times its twin a channel is where it is mixed, for each (reader, offset) of its places.

    Empty where it is no multiple of `finding.twin` at one of them.
    """
    pair = np.array([finding.channel, finding.twin or 0])
    places = places_of(structure, finding.block)
    (first, at), made = places[0], effects[finding.block]
    factor = _multiple(made.sums[pair], effects[first.name].inputs.high[at + pair], made.rounds)
    factors: dict[tuple[str, int], float] = {}
    for reader, at in places:
        effect, own = effects[reader.name], factor
        if factor is not None and effect.filters is not None:
            filters = effect.filters[at + pair].copy()
            filters[0, :-1] *= factor
            own = _multiple(filters, effect.mixed.high[at + pair], effect.rounds)
        if own is None:
            return {}
        factors[reader.name, at] = own
    return factors


def effective_kernel(model: keras.Model, name: str) -> Float:
    """Return a layer's kernel as it computes with it: rounded, where it rounds."""
    layer = model.get_layer(name)
    kernel = layer.kernel_for_call() if hasattr(layer, "kernel_for_call") else layer.kernel
    return np.asarray(kernel, np.float64)


def affine_of(model: keras.Model, normalization: str) -> tuple[Float, Float]:
    """Compute factor and offset (C,) of a batch normalization in inference, rounded as float32."""
    layer = model.get_layer(normalization)
    gamma, beta, mean, variance = layer.get_weights()
    scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
    return scale.astype(np.float64), (beta - mean * scale).astype(np.float64)


def silence_of(reader: Reader, effect: Effect, position: int) -> Kind | None:
    """Say why a reader does not need an input channel, or None."""
    if effect.mixed.is_constant[position]:
        if effect.mixed.low[position] == 0.0:
            return "zero"
        if reader.is_separable or reader.kernel == 1:
            return "constant"
    return None if effect.kernel[:, :, position].any() else "unused"


def _duplicates(structure: Structure, block: Reader, alive: list[int], effects: Mapping[str, Effect]) -> list[Finding]:
    """Among the channels that are alive, those that repeat an earlier one."""
    found: list[Finding] = []
    distinct: list[int] = []
    for one in alive:
        candidates = (Finding(block.name, one, "duplicate", other) for other in distinct)
        twin = next((x for x in candidates if duplicate_factors(structure, x, effects)), None)
        if twin is None:
            distinct.append(one)
        else:
            found.append(twin)
    return found


def _multiple(pair: Float, high: Float, is_exact_only: bool) -> float | None:
    """Find the factor between two rows (2, n) that holds behind ReLU6 too; `high` (2,) says if that caps."""
    mine, its = pair
    size = float(np.linalg.norm(its))
    factor = float(np.linalg.norm(mine)) / size if size else 0.0
    if factor == 0.0 or not np.allclose(mine, factor * its, rtol=0, atol=ALIKE * float(np.abs(mine).max())):
        return None
    if abs(factor - 1.0) <= ALIKE:
        return 1.0
    return factor if high.max() < TOP and not is_exact_only else None


def _folded(kernel: Float, affine: tuple[Float, Float]) -> Float:
    """Fold normalization: a row for each output channel (the last axis), its scaled kernel, then the offset."""
    scale, offset = affine
    return np.concatenate([kernel.reshape(-1, len(scale)) * scale, offset[None]]).T


def _convolved(inputs: Bounds, kernel: Float, reader: Reader, *, each: bool) -> Bounds:
    """Bounds of sums: with `each` per channel (kernel (k, k, I, 1)), else over all channels ((k, k, I, O))."""
    ends = np.stack([kernel * inputs.low[:, None], kernel * inputs.high[:, None]])
    low, high = ends.min(axis=0), ends.max(axis=0)
    if each:
        low, high = low[..., 0], high[..., 0]  # (k, k, C)
    else:
        low, high = low.sum(axis=2), high.sum(axis=2)
    side = kernel.shape[0]
    windows = list(product(*(_windows(side, length, reader.stride) for length in (reader.height_px, reader.width_px))))
    lows = np.array([low[rows, columns].sum(axis=(0, 1)) for rows, columns in windows])
    highs = np.array([high[rows, columns].sum(axis=(0, 1)) for rows, columns in windows])
    return Bounds(lows.min(axis=0), highs.max(axis=0))


def _windows(side: int, length_px: int, stride: int) -> list[slice]:
    """Which rows (or columns) of a filter lie on the picture, at any of its positions; `length_px` is the output's.

    Padding is TensorFlow's "same": an odd pixel of it comes last.
    """
    source_px = length_px * stride
    padded = max(0, side - stride)
    before = padded // 2
    starts = (at * stride - before for at in range(length_px))
    cut = {(max(0, -start), max(0, start + side - source_px)) for start in starts}
    return [slice(before, side - after) for before, after in sorted(cut)]


def _normalized(sums: Bounds, affine: tuple[Float, Float], activate: Callable[[Float], Float]) -> Bounds:
    scale, offset = affine
    ends = np.stack([sums.low * scale + offset, sums.high * scale + offset])
    size = np.maximum(np.abs(sums.low), np.abs(sums.high)) * np.abs(scale)
    slack = np.where(sums.is_constant | (scale == 0), 0.0, SLACK * (size + np.abs(offset)))
    return Bounds(activate(ends.min(axis=0) - slack), activate(ends.max(axis=0) + slack))


def _activation(ranges: Mapping[str, Any], name: str) -> Callable[[Float], Float]:
    """ReLU6, then rounding to the range behind it if there is one."""
    if name not in ranges:
        return lambda values: np.clip(values, 0.0, TOP)
    step = float(ranges[name].ends()[1]) / 255.0
    return lambda values: np.floor(np.clip(values, 0.0, min(TOP, 255.0 * step)) / step + 0.5) * step
