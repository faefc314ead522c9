"""Find parts of a network that can go as a whole: levels and skips without effect, blocks that change nothing.

Where nothing that comes from below a join has an effect, the deeper levels go, and the join's level becomes the
bottleneck. Where the skip has none, the join goes. A block whose filters and normalizations hand on what they read is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nanou_train.networks.channel_graph import BELOW, IMAGE, LOGITS, Reader, activation_layers, readers
from nanou_train.networks.rebuild import Origin, ranges_of, rebuild
from nanou_train.networks.structure import Block, Structure, block_letter, structure_of
from nanou_train.simplify.dead import ALIKE, Effect, silence_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Shortcut:
    """A structure that lacks a part of another, the origins of its blocks, and in words what went.

    `reader` does no longer read the channels `silent` (positions in its input, which are constants or not listened to).
    """

    structure: Structure
    origins: Mapping[str, Origin]
    words: str
    reader: str = ""
    silent: tuple[int, ...] = ()

    def of(self, model: keras.Model) -> keras.Model:
        """Build the model without that part."""
        return rebuild(model, self.structure, self.origins)


def find_shortcut(model: keras.Model, effects: Mapping[str, Effect]) -> Shortcut | None:
    """Find the first part that can go, from the input down."""
    structure = structure_of(model)
    for number, level in enumerate(structure.levels, start=1):
        if level.skip:
            reader = next(one for one in readers(structure) if any(x.role == f"skip{number}" for x in one.slots))
            if found := _silent_side(structure, number, reader, effects[reader.name]):
                return found
    for reader in readers(structure):
        if _is_identity(model, structure, reader, effects[reader.name]):
            return _without_block(structure, reader.name)
    return None


def _silent_side(structure: Structure, number: int, reader: Reader, effect: Effect) -> Shortcut | None:
    """Without what a join reads from below, or without its skip, where one of them says nothing."""
    roles = [slot.role for slot in reader.slots]
    index = roles.index(f"skip{number}")
    start, end = reader.offset_of(index), reader.offset_of(index + 1)
    silent = [silence_of(reader, effect, position) is not None for position in range(end)]
    if all(silent[:start]):
        return _without_levels(structure, number, reader, tuple(range(start)))
    if all(silent[start:]):
        levels = list(structure.levels)
        levels[number - 1] = replace(levels[number - 1], skip=False)
        words = f"the skip of level {number}"
        smaller = replace(structure, levels=tuple(levels))
        return Shortcut(smaller, _same(structure), words, reader.name, tuple(range(start, end)))
    return None


def _without_levels(structure: Structure, number: int, reader: Reader, silent: tuple[int, ...]) -> Shortcut:
    """Level `number` becomes the bottleneck: its encoder's blocks, then its decoder's, which read the skip alone."""
    level = structure.levels[number - 1]
    smaller = replace(structure, levels=structure.levels[: number - 1], bottleneck=(*level.encoder, *level.decoder))
    old = [f"encoder{number}{block_letter(index)}" for index in range(len(level.encoder))]
    old += [f"decoder{number}{block_letter(index)}" for index in range(len(level.decoder))]
    renamed = {f"bottleneck_{block_letter(index)}": name for index, name in enumerate(old)}
    widths = {one.name: one.width for one in readers(structure)}
    origins: dict[str, Origin] = {}
    for one in readers(smaller):
        source = renamed.get(one.name, one.name)
        slots = {BELOW: f"skip{number}"} if source == reader.name else {}
        origins[one.name] = Origin(source, tuple(range(widths[source])), slots=slots)
    words = f"all levels below level {number}, and its pooling"
    return Shortcut(smaller, origins, words, reader.name, silent)


def _same(structure: Structure) -> dict[str, Origin]:
    return {one.name: Origin(one.name, tuple(range(one.width))) for one in readers(structure)}


def _is_identity(model: keras.Model, structure: Structure, reader: Reader, effect: Effect) -> bool:
    """Whether a block hands on what it reads: one tensor behind a ReLU6, on the same grids."""
    if reader.name == LOGITS or len(reader.slots) > 1 or reader.slots[0].producer == IMAGE:
        return False
    if reader.inputs != reader.width or effect.inputs.low.min() < 0.0:
        return False
    ranges = ranges_of(model)
    relus = [activation_layers(structure, reader.slots[0].producer)[-1], *activation_layers(structure, reader.name)]
    if len({float(ranges[relu].ends()[1]) for relu in relus if relu in ranges}) > 1:
        return False
    same = np.eye(reader.width)
    if effect.filters is not None:
        middle = np.zeros((reader.width, effect.filters.shape[1]))
        middle[:, reader.kernel**2 // 2] = 1.0
        wanted = np.concatenate([same, np.zeros((reader.width, 1))], axis=1)
        return _is_close(effect.filters, middle) and _is_close(effect.sums, wanted)
    wanted = np.zeros((reader.width, reader.kernel**2, reader.width))
    wanted[:, reader.kernel**2 // 2] = same
    return _is_close(
        effect.sums, np.concatenate([wanted.reshape(reader.width, -1), np.zeros((reader.width, 1))], axis=1)
    )


def _is_close(found: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> bool:
    return bool(np.allclose(found, wanted, rtol=0, atol=ALIKE))


def _without_block(structure: Structure, name: str) -> Shortcut:
    prefix, letter = re.fullmatch(r"(\D+\d*|bottleneck_)([a-z])", name).groups()  # type: ignore[union-attr]
    gone = ord(letter) - ord("a")

    def chain(blocks: tuple[Block, ...], own: str) -> tuple[Block, ...]:
        return tuple(block for index, block in enumerate(blocks) if own != prefix or index != gone)

    levels = tuple(
        replace(level, encoder=chain(level.encoder, f"encoder{n}"), decoder=chain(level.decoder, f"decoder{n}"))
        for n, level in enumerate(structure.levels, start=1)
    )
    smaller = replace(structure, levels=levels, bottleneck=chain(structure.bottleneck, "bottleneck_"))
    origins: dict[str, Origin] = {}
    for one in readers(smaller):
        source = one.name
        if source != LOGITS and source[:-1] == prefix and ord(source[-1]) - ord("a") >= gone:
            source = f"{prefix}{chr(ord(source[-1]) + 1)}"
        origins[one.name] = Origin(source, tuple(range(one.width)))
    return Shortcut(smaller, origins, f"the block {name}, an identity")
