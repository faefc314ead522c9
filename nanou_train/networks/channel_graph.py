"""Trace which block of a structure reads the channels of which others.

Poolings and resizes leave channels as they are, so a channel belongs to the block that made it until the next block
reads it. A block behind a join reads two slots, that from below and the skip; behind a level without decoder blocks it
can be more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nanou_train.networks.structure import STEM, Block, Structure, block_letter

IMAGE, LOGITS, BELOW = "image", "logits", "below"


@dataclass(frozen=True)
class Slot:
    """The channels of one block (or of the image) as a part of a reader's input; `role` is "below" or "skipN"."""

    role: str
    producer: str
    width: int


@dataclass(frozen=True)
class Reader:
    """A block, or the logits, with what it reads. `height_px` and `width_px` are its output's; `kernel` its filter's.

    `is_separable` says that a depthwise filter comes first, so that each input channel is filtered by itself. `stride`
    is by how many pixels the filter steps. The logits' `width` is that of their convolution.
    """

    name: str
    slots: tuple[Slot, ...]
    width: int
    kernel: int
    height_px: int
    width_px: int
    is_separable: bool
    stride: int = 1

    @property
    def inputs(self) -> int:
        return sum(slot.width for slot in self.slots)

    @property
    def macs(self) -> int:
        """Count the multiply-accumulates of one inference, bias and padding not counted apart."""
        taps = self.kernel**2
        each = self.inputs * (taps + self.width) if self.is_separable else self.inputs * taps * self.width
        return self.height_px * self.width_px * each

    def offset_of(self, position: int) -> int:
        """Return where slot number `position` begins among the input channels."""
        return sum(slot.width for slot in self.slots[:position])


def readers(structure: Structure) -> tuple[Reader, ...]:
    """List all blocks with what they read, from the image to the logits."""
    return tuple(_walk(structure))


def is_separable(structure: Structure, block: str) -> bool:
    """Tell whether a block filters each channel by itself before it mixes them."""
    return structure.architecture == "nano_u" and block not in (STEM, LOGITS)


def producer_layer(structure: Structure, block: str) -> str:
    """Name the layer whose filters are a block's output channels."""
    return f"{block}_pw" if is_separable(structure, block) else f"{block}_conv"


def activation_layers(structure: Structure, block: str) -> tuple[str, ...]:
    """Name the ReLU6 layers of a block, in order; the last makes its output."""
    return (f"{block}_dw_relu6", f"{block}_pw_relu6") if is_separable(structure, block) else (f"{block}_relu6",)


def structure_macs(structure: Structure) -> int:
    """Count the multiply-accumulates of one inference. The nano_u preset has 2,399,200."""
    return sum(reader.macs for reader in readers(structure))


def _walk(structure: Structure) -> Iterator[Reader]:
    height, width, channels = structure.input_shape
    slots = [Slot(BELOW, IMAGE, channels)]

    def chain(blocks: tuple[Block, ...], prefix: str) -> Iterator[Reader]:
        nonlocal slots
        for index, block in enumerate(blocks):
            name = f"{prefix}{block_letter(index)}"
            separable = is_separable(structure, name)
            yield Reader(name, tuple(slots), block.width, block.kernel, height, width, separable)
            slots = [Slot(BELOW, name, block.width)]

    height, width = height // structure.stride, width // structure.stride
    if stem := structure.stem:
        yield Reader(STEM, tuple(slots), stem.width, stem.kernel, height, width, False, structure.stride)
        slots = [Slot(BELOW, STEM, stem.width)]
    encoded = []
    for number, level in enumerate(structure.levels, start=1):
        yield from chain(level.encoder, f"encoder{number}")
        encoded.append((slots, height, width))
        height, width = height // level.pool[0], width // level.pool[1]
    yield from chain(structure.bottleneck, "bottleneck_")
    for number in range(len(encoded), 0, -1):
        skip, height, width = encoded[number - 1]
        if structure.levels[number - 1].skip:
            slots = [*slots, *(Slot(f"skip{number}", slot.producer, slot.width) for slot in skip)]
        yield from chain(structure.levels[number - 1].decoder, f"decoder{number}")
    yield Reader(LOGITS, tuple(slots), structure.logit_channels, 1, height, width, False)
