"""Start a network of another structure with a trained one's weights, so that it need not learn from nothing.

Where nothing is lost the function stays as it is (Chen et al. 2016, Net2Net, arXiv 1511.05641): more channels have
outgoing weights of 0, a larger kernel is padded with zeros, a new skip is not listened to yet, an added block is an
identity. Fewer channels are those of highest importance. Poolings and input sizes leave weights as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanou_train.errors import TrainError
from nanou_train.networks.channel_graph import producer_layer
from nanou_train.networks.rebuild import NEW, Channels, Origin, StandIn, rebuild
from nanou_train.networks.structure import STEM, Block, Structure, block_letter, structure_of
from nanou_train.pruning.importance import Importance

if TYPE_CHECKING:
    import keras


def inherit(parent: keras.Model, structure: Structure, importance: Importance) -> keras.Model:
    """Build a model of `structure` with `parent`'s weights, quantization-aware with its ranges if the parent is.

    Blocks correspond by level and position: a shorter chain keeps its first blocks, the last of which is then read in
    place of the parent's last; a longer one gets identities at its end. A layer without scores in `importance` keeps
    its first channels. Raises TrainError where architecture, image channels, number of levels, or classes differ.
    """
    before = structure_of(parent)
    _check(before, structure)

    def best(block: str, count: int) -> Channels:
        scores = importance.get(producer_layer(before, block))
        if block == "image" or scores is None:
            return tuple(range(count))
        return tuple(sorted(np.argsort(-np.asarray(scores), kind="stable")[:count].tolist()))

    origins: dict[str, Origin] = {}
    for prefix, old, new in _chains(before, structure):
        origins |= _chain_origins(prefix, old, new, best)
    if before.stem and structure.stem:
        origins[STEM] = Origin(STEM, _padded(best(STEM, structure.stem.width), before.stem.width, structure.stem.width))
    return rebuild(parent, structure, origins, best)


def _check(before: Structure, structure: Structure) -> None:
    for what, one, other in (
        ("architecture", before.architecture, structure.architecture),
        ("image channels", before.input_shape[2], structure.input_shape[2]),
        ("stride", before.stride, structure.stride),
        ("levels", len(before.levels), len(structure.levels)),
        ("classes", before.classes, structure.classes),
    ):
        if one != other:
            raise TrainError(
                f"weights of a network with {what} {one} do not fit one with {what} {other}",
                hint="inherit from a run that has the same",
            )


def _chains(before: Structure, structure: Structure) -> list[tuple[str, Sequence[Block], Sequence[Block]]]:
    pairs: list[tuple[str, Sequence[Block], Sequence[Block]]] = []
    for number, (old, new) in enumerate(zip(before.levels, structure.levels, strict=True), start=1):
        pairs.append((f"encoder{number}", old.encoder, new.encoder))
        pairs.append((f"decoder{number}", old.decoder, new.decoder))
    return [*pairs, ("bottleneck_", before.bottleneck, structure.bottleneck)]


def _chain_origins(prefix: str, old: Sequence[Block], new: Sequence[Block], best: StandIn) -> dict[str, Origin]:
    """Return the origins of one chain's blocks."""
    names = [f"{prefix}{block_letter(index)}" for index in range(max(len(old), len(new)))]
    origins: dict[str, Origin] = {}
    for index, (name, block) in enumerate(zip(names, new, strict=False)):
        if index < len(old):
            origins[name] = Origin(name, _padded(best(name, block.width), old[index].width, block.width))
        else:
            origins[name] = Origin(None, ())
    if 0 < len(new) < len(old):
        last, end = names[len(new) - 1], names[len(old) - 1]
        count = min(new[-1].width, old[-1].width)
        read = _padded(best(end, count), old[-1].width, new[-1].width)
        origins[last] = replace(origins[last], read_as=end, read_channels=read)
    return origins


def _padded(channels: Channels, limit: int, width: int) -> Channels:
    """Exactly `width` channels: those below `limit`, then NEW."""
    kept = tuple(channel for channel in channels if channel < limit)[:width]
    return kept + (NEW,) * (width - len(kept))
