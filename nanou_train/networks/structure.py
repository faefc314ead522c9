"""Describe a network as data, blocks, levels and joins, and build models from that.

A level is one resolution: its encoder blocks, the pooling that leads down from it, and its decoder blocks, after the
picture has been resized back. Pruned and searched networks have blocks of unequal width. With a stem, the levels begin
at half of the picture's sides: it is a plain convolution by steps of 2, and behind the levels each pixel's logits are
those of a block of 2x2 (sub-pixel convolution, Shi et al. 2016, arXiv 1609.05158).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from codegen.start_tensorflow import import_tensorflow
from nanou_train.errors import TrainError

if TYPE_CHECKING:
    import keras

Architecture = Literal["nano_u", "bu_net"]
STEM = "stem"
STEM_STRIDE = 2


@dataclass(frozen=True)
class Block:
    """A block of `width` output channels; `kernel` is the side of its spatial filter, odd."""

    width: int
    kernel: int = 3


@dataclass(frozen=True)
class Level:
    """Encoder and decoder at one resolution; `pool` is (rows, columns); `skip` joins the encoder's end to the decoder.

    Either may be without blocks.
    """

    encoder: tuple[Block, ...]
    pool: tuple[int, int]
    decoder: tuple[Block, ...]
    skip: bool = False


@dataclass(frozen=True)
class Structure:
    """A whole network; levels from the input down. `architecture` says which kind of block: separable or plain.

    The `stem`, where there is one, is plain in both.
    """

    architecture: Architecture
    input_shape: tuple[int, int, int]
    levels: tuple[Level, ...]
    bottleneck: tuple[Block, ...]
    classes: int = 2
    stem: Block | None = None

    @property
    def stride(self) -> int:
        """By how much the first level's sides are less than the picture's."""
        return STEM_STRIDE if self.stem else 1

    @property
    def logit_channels(self) -> int:
        """Channels of the logits' convolution: each class's, or those of two that share one, at each of its pixels."""
        return (1 if self.classes == 2 else self.classes) * self.stride**2

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Structure:
        """Invert `to_json`. Raises KeyError or TypeError for anything else."""

        def blocks(found: Any) -> tuple[Block, ...]:
            return tuple(Block(**block) for block in found)

        levels = tuple(
            Level(blocks(one["encoder"]), tuple(one["pool"]), blocks(one["decoder"]), one["skip"])
            for one in values["levels"]
        )
        shape, stem = tuple(values["input_shape"]), Block(**values["stem"]) if values["stem"] else None
        return cls(values["architecture"], shape, levels, blocks(values["bottleneck"]), values["classes"], stem)


def build_model(structure: Structure, name: str) -> keras.Model:
    """Build a model: float32 (N, H, W, C) -> logits float32 (N, H, W, K), K as in `nanou_train.networks.architectures`.

    Raises TrainError where a pooling does not divide a side, or a width or kernel is impossible.
    """
    check_structure(structure, name)
    import_tensorflow()
    import keras

    from nanou_train.networks.layers import DepthToSpace

    block = _BLOCKS[structure.architecture]

    def chain(x: Any, blocks: tuple[Block, ...], prefix: str) -> Any:
        for index, one in enumerate(blocks):
            x = block(x, one, f"{prefix}{block_letter(index)}")
        return x

    inputs = x = keras.Input(structure.input_shape, name="image")
    if structure.stem:
        x = _plain_block(x, structure.stem, STEM, stride=STEM_STRIDE)
    encoded = []
    for number, level in enumerate(structure.levels, start=1):
        x = chain(x, level.encoder, f"encoder{number}")
        encoded.append(x)
        x = keras.layers.MaxPooling2D(level.pool, name=f"encoder{number}_pool")(x)
    x = chain(x, structure.bottleneck, "bottleneck_")
    for number in range(len(encoded), 0, -1):
        level, skip = structure.levels[number - 1], encoded[number - 1]
        # This converts to one RESIZE_NEAREST_NEIGHBOR; UpSampling2D would become RESHAPE and TILE, and the Resizing
        # layer switches the layers after it to training mode where the caller does not say (Keras 3.15).
        x = keras.ops.image.resize(x, skip.shape[1:3], interpolation="nearest")
        if level.skip:
            x = keras.layers.Concatenate(name=f"decoder{number}_join")([x, skip])
        x = chain(x, level.decoder, f"decoder{number}")
    logits = keras.layers.Conv2D(structure.logit_channels, 1, padding="same", name="logits")(x)
    if structure.stem:
        logits = DepthToSpace(STEM_STRIDE, name="logits_pixels")(logits)
    return keras.Model(inputs, logits, name=name)


def structure_of(model: keras.Model) -> Structure:
    """Read the structure of a model that `build_model` made, quantization-aware or not. TrainError for others."""
    layers = {layer.name: layer for layer in model.layers}
    plain = any(name.endswith("_conv") for name in layers if name != f"{STEM}_conv")

    def blocks(prefix: str) -> tuple[Block, ...]:
        found: list[Block] = []
        while spatial := layers.get(f"{prefix}{block_letter(len(found))}{'_conv' if plain else '_dw'}"):
            last = spatial if plain else layers[f"{prefix}{block_letter(len(found))}_pw"]
            found.append(Block(int(last.filters), int(spatial.kernel_size[0])))
        return tuple(found)

    def level(number: int) -> Level:
        pool = layers[f"encoder{number}_pool"].pool_size
        skip = f"decoder{number}_join" in layers
        return Level(blocks(f"encoder{number}"), (int(pool[0]), int(pool[1])), blocks(f"decoder{number}"), skip)

    count = sum(bool(re.fullmatch(r"encoder\d+_pool", name)) for name in layers)
    if "logits" not in layers:
        raise TrainError(f"{model.name} was not built by nanou_train", hint="use a student of one of its runs")
    logits = int(model.outputs[0].shape[-1])
    height, width, channels = (int(side) for side in model.inputs[0].shape[1:])
    return Structure(
        "bu_net" if plain else "nano_u",
        (height, width, channels),
        tuple(level(number) for number in range(1, count + 1)),
        blocks("bottleneck_"),
        2 if logits == 1 else logits,
        Block(int(stem.filters), int(stem.kernel_size[0])) if (stem := layers.get(f"{STEM}_conv")) else None,
    )


def block_letter(index: int) -> str:
    """Return the letter that tells the blocks of a chain apart in layer names: a, b, ..."""
    return "abcdefghijklmnopqrstuvwxyz"[index]


def check_structure(structure: Structure, name: str) -> None:
    """Raise TrainError for what cannot be built; `name` is what the message calls it."""
    levels = structure.levels
    blocks = [block for level in levels for block in (*level.encoder, *level.decoder)] + list(structure.bottleneck)
    blocks += [structure.stem] if structure.stem else []
    if any(block.width < 1 or block.kernel < 1 or block.kernel % 2 == 0 for block in blocks):
        raise TrainError(f"{name} has a block without channels or with an even kernel", hint="use 1 or more, 1, 3 or 5")
    for axis, side in enumerate(structure.input_shape[:2]):
        factor = structure.stride * prod(level.pool[axis] for level in levels)
        if side % factor:
            raise TrainError(f"{name} pools its side of {side} pixels by {factor}", hint="choose poolings that divide")


def _normalized(x: Any, name: str) -> Any:
    """BatchNorm and ReLU6, whose bound keeps the int8 activation range small."""
    import keras

    from nanou_train.networks.layers import FusedBatchNormalization

    x = FusedBatchNormalization(momentum=0.95, name=f"{name}_bn")(x)
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _separable_block(x: Any, block: Block, name: str) -> Any:
    import keras

    x = keras.layers.DepthwiseConv2D(block.kernel, padding="same", use_bias=False, name=f"{name}_dw")(x)
    x = _normalized(x, f"{name}_dw")
    x = keras.layers.Conv2D(block.width, 1, padding="same", use_bias=False, name=f"{name}_pw")(x)
    return _normalized(x, f"{name}_pw")


def _plain_block(x: Any, block: Block, name: str, *, stride: int = 1) -> Any:
    import keras

    convolution = keras.layers.Conv2D(
        block.width, block.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )
    return _normalized(convolution(x), name)


_BLOCKS: Mapping[Architecture, Callable[[Any, Block, str], Any]] = {"nano_u": _separable_block, "bu_net": _plain_block}
