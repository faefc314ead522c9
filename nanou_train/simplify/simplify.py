"""Remove what has no effect: dead, unused and repeated channels, and the parts that `shortcuts` finds.

The network stays the same function. Which bits may differ is another question. Channels that are 0 add 0 wherever they
are: the int8 model's sums are the same integers, unless the largest weight of an output channel went, whose grid is
finer then (`Simplified.other_grids`). Folded constants and merged duplicates are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nanou_train.networks.channel_graph import LOGITS, Reader, producer_layer, readers
from nanou_train.networks.rebuild import layer_names
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.evidence import mixing_layer
from nanou_train.pruning.importance import places_of
from nanou_train.pruning.prune import prune_channels
from nanou_train.simplify.dead import Effect, Finding, duplicate_factors, effects_of, find_dead
from nanou_train.simplify.shortcuts import find_shortcut

if TYPE_CHECKING:
    import keras

Numbers = Mapping[str, tuple[str, tuple[int, ...]]]  # block -> what it and its channels were called at first


@dataclass(frozen=True, eq=False)
class Simplified:
    """The smaller model, and the channels and parts that went.

    `channels` have the names and numbers that they had in the model that was given; `parts` are skips, levels and
    blocks, in words. `other_grids` are layers of which some output channel has another largest weight than before.
    `kept` are channels that do nothing but are the last of their block.
    """

    model: keras.Model
    channels: tuple[Finding, ...]
    parts: tuple[str, ...]
    other_grids: tuple[str, ...]
    kept: tuple[Finding, ...]


def simplify(model: keras.Model) -> Simplified:
    """Copy a model that `build_model` made without what has no effect; the given one stays as it is."""
    current, structure = prune_channels(model, {}), structure_of(model)
    names: Numbers = {one.name: (one.name, tuple(range(one.width))) for one in readers(structure)}
    channels: list[Finding] = []
    parts: list[str] = []
    grids: set[str] = set()
    while True:
        effects, structure = effects_of(current), structure_of(current)
        if shortcut := find_shortcut(current, effects):
            reader = next((one for one in readers(structure) if one.name == shortcut.reader), None)
            if reader is not None:
                _fold(current, structure, reader, effects[reader.name], shortcut.silent)
                grids |= _regridded(current, structure, reader, shortcut.silent, names)
            parts.append(shortcut.words)
            current = shortcut.of(current)
            names = {name: names[origin.block or ""] for name, origin in shortcut.origins.items()}
            continue
        found = find_dead(current, effects)
        going = _leaving_one(structure, found)
        if not going:
            return Simplified(current, tuple(channels), tuple(parts), tuple(sorted(grids)), _as_first(found, names))
        channels += _as_first(going, names)
        current, names = _without(current, structure, going, effects, names, grids)


def _as_first(found: Iterable[Finding], names: Numbers) -> tuple[Finding, ...]:
    def translated(one: Finding) -> Finding:
        block, numbers = names[one.block]
        twin = None if one.twin is None else numbers[one.twin]
        return replace(one, block=block, channel=numbers[one.channel], twin=twin)

    return tuple(map(translated, found))


def _leaving_one(structure: Structure, found: Iterable[Finding]) -> list[Finding]:
    """Return what can go without leaving a block without channels."""
    widths = {one.name: one.width for one in readers(structure)}
    going: list[Finding] = []
    for one in found:
        if sum(other.block == one.block for other in going) < widths[one.block] - 1:
            going.append(one)
    return going


def _without(
    model: keras.Model,
    structure: Structure,
    going: list[Finding],
    effects: Mapping[str, Effect],
    names: Numbers,
    grids: set[str],
) -> tuple[keras.Model, Numbers]:
    """Return the model without these channels, their effect on what follows put where it belongs; changes `model`."""
    gone: dict[str, set[int]] = {}
    for one in going:
        gone.setdefault(one.block, set()).add(one.channel)
        for reader, at in places_of(structure, one.block):
            if one.twin is not None:
                factor = duplicate_factors(structure, one, effects)[reader.name, at]
                _add_weights(model, structure, reader, at + one.channel, at + one.twin, factor)
            else:
                _fold(model, structure, reader, effects[reader.name], (at + one.channel,))
    for reader in readers(structure):
        silent = [
            reader.offset_of(index) + channel
            for index, slot in enumerate(reader.slots)
            for channel in gone.get(slot.producer, ())
        ]
        grids |= _regridded(model, structure, reader, silent, names)
    widths = {one.name: one.width for one in readers(structure)}
    keep = {block: [x for x in range(widths[block]) if x not in channels] for block, channels in gone.items()}
    left = dict(names)
    for block, channels in keep.items():
        left[block] = (names[block][0], tuple(names[block][1][channel] for channel in channels))
    layers = {producer_layer(structure, block): channels for block, channels in keep.items()}
    return prune_channels(model, layers), left


def _fold(model: keras.Model, structure: Structure, reader: Reader, effect: Effect, silent: Iterable[int]) -> None:
    """Put what constant input channels add into the normalization's mean, or the logits' bias."""
    positions = [at for at in silent if effect.mixed.is_constant[at] and effect.mixed.low[at] != 0.0]
    shift = np.einsum("i,hwio->o", effect.mixed.low[positions], effect.kernel[:, :, positions])
    if not shift.any():
        return
    if reader.name == LOGITS:
        layer = model.get_layer(LOGITS)
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias + shift])
    else:
        names = layer_names(structure, reader.name)
        layer = model.get_layer(names["point_bn" if reader.is_separable else "spatial_bn"])
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([gamma, beta, mean - shift, variance])


def _add_weights(
    model: keras.Model, structure: Structure, reader: Reader, source: int, target: int, factor: float
) -> None:
    """Let what listened to one channel listen to its twin."""
    layer = model.get_layer(mixing_layer(structure, reader))
    kernel, *bias = layer.get_weights()
    kernel[:, :, target] += factor * kernel[:, :, source]
    layer.set_weights([kernel, *bias])


def _regridded(
    model: keras.Model, structure: Structure, reader: Reader, silent: Iterable[int], names: Numbers
) -> set[str]:
    """Name the reader's mixing layer if some output channel's largest weight is at `silent` inputs."""
    kernel = np.abs(model.get_layer(mixing_layer(structure, reader)).get_weights()[0])
    stays = np.ones(kernel.shape[2], bool)
    stays[list(silent)] = False
    same = kernel.max(axis=(0, 1, 2)) == kernel[:, :, stays].max(axis=(0, 1, 2), initial=0.0)
    return set() if same.all() else {names[reader.name][0]}
