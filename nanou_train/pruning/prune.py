"""Prune channels: build a narrower network that computes with those that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from nanou_train.errors import TrainError
from nanou_train.networks.architectures import near_names
from nanou_train.networks.channel_graph import LOGITS, producer_layer, readers
from nanou_train.networks.rebuild import Origin, rebuild
from nanou_train.networks.structure import STEM, Block, Level, Structure, block_letter, structure_of

if TYPE_CHECKING:
    import keras


def prune_channels(model: keras.Model, keep: Mapping[str, Sequence[int]]) -> keras.Model:
    """Build a narrower model with the channels `keep` of the layers that it names; the other layers keep all.

    `keep` is by the layer that makes the channels (`encoder1a_pw`; `encoder1a_conv` in plain blocks), each a rising
    sequence of channel numbers. Normalization, the depthwise filters behind, both sides of a skip, and the next
    kernels follow; a quantization-aware model keeps its ranges. Image channels and logits always stay. Raises
    TrainError for a layer that makes no channels, for an empty or unsorted selection, and for a number that is none.
    """
    structure = structure_of(model)
    kept = kept_channels(structure, keep)
    narrow = with_widths(structure, {block: len(channels) for block, channels in kept.items()})
    return rebuild(model, narrow, {block: Origin(block, channels) for block, channels in kept.items()})


def kept_channels(structure: Structure, keep: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Check and complete the kept channels of every block. Raises TrainError."""
    blocks = {reader.name: reader.width for reader in readers(structure) if reader.name != LOGITS}
    layers = {producer_layer(structure, block): block for block in blocks}
    for name in keep:
        if name not in layers:
            raise TrainError(f'no layer "{name}" whose channels can be removed', hint=near_names(name, layers))
    found = {}
    for layer, block in layers.items():
        channels = tuple(int(channel) for channel in keep.get(layer, range(blocks[block])))
        rising = all(one < other for one, other in pairwise(channels))
        if not channels or not rising or channels[0] < 0 or channels[-1] >= blocks[block]:
            raise TrainError(
                f"{layer} cannot keep channels {list(channels)} of its {blocks[block]}",
                hint="give at least one, in rising order",
            )
        found[block] = channels
    return found


def with_widths(structure: Structure, widths: Mapping[str, int]) -> Structure:
    """Replace the widths of the blocks that are named."""

    def chain(blocks: tuple[Block, ...], prefix: str) -> tuple[Block, ...]:
        return tuple(
            replace(block, width=widths.get(f"{prefix}{block_letter(index)}", block.width))
            for index, block in enumerate(blocks)
        )

    def level(number: int, one: Level) -> Level:
        encoder, decoder = chain(one.encoder, f"encoder{number}"), chain(one.decoder, f"decoder{number}")
        return replace(one, encoder=encoder, decoder=decoder)

    levels = tuple(level(number, one) for number, one in enumerate(structure.levels, start=1))
    stem = structure.stem and replace(structure.stem, width=widths.get(STEM, structure.stem.width))
    return replace(structure, levels=levels, bottleneck=chain(structure.bottleneck, "bottleneck_"), stem=stem)
