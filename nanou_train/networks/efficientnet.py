"""Create a teacher that has seen more than its data set: a U-Net on EfficientNet-Lite0's first stages, from ImageNet.

A few hundred pictures of one autumn cannot tell what is grass and what is a shadow; a million photographs can. The
encoder (Tan and Le 2019, EfficientNet, arXiv 1905.11946, in its Lite0 form for edge devices: no squeeze-and-excitation,
ReLU6) ends where sides are a sixteenth of what it sees, and comes with the weights of its training on ImageNet. It sees
the picture at twice its size, so that its first stage has the picture's own, as have the logits. It is not for devices.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from codegen.start_tensorflow import import_tensorflow
from nanou_train.errors import TrainError

if TYPE_CHECKING:
    import keras

ARCHITECTURE: Final = "efficientnet"
WEIGHTS = Path(__file__).with_name("efficientnet_lite0.npz")  # float16; NOTICE says whose they are
ENLARGED = 2
STEM = 32
DROPPED = 0.2  # share of the deepest channels left out in training
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet's pictures, 0..1


class Stage(NamedTuple):
    """Inverted residual blocks of one width; the first takes steps of `stride`."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
)
SKIPS = sum(stage.stride > 1 for stage in STAGES)


def create_efficientnet_u_net(
    input_shape: tuple[int, int, int], filters: tuple[int, ...], bottleneck: int, classes: int, name: str
) -> keras.Model:
    """Create it: float32 (N, H, W, C) in -1..1 -> logits float32 (N, H, W, K), C 1 or 3, K as in `architectures`.

    `filters` are the widths of the decoder's stages from the picture's size down, `bottleneck` that of the deepest.
    Raises TrainError for another number of stages than the encoder has.
    """
    if len(filters) != SKIPS:
        raise TrainError(f"{name} has a decoder of {len(filters)} stages", hint=f"give {SKIPS} filters")
    import_tensorflow()
    import keras

    height, width, channels = input_shape
    picture = x = keras.Input(input_shape, name="image")
    if channels == 1:
        x = keras.layers.Concatenate(name="as_colour")([x, x, x])
    x = keras.layers.Rescaling(list(0.5 / DEVIATION), list((0.5 - MEAN) / DEVIATION), name="imagenet")(x)
    x = keras.ops.image.resize(x, (height * ENLARGED, width * ENLARGED), interpolation="bilinear")
    x, skips = _encoded(x)
    x = keras.layers.SpatialDropout2D(DROPPED, name="dropped")(x)
    x = _activated(keras.layers.Conv2D(bottleneck, 3, padding="same", use_bias=False, name="deepest")(x), "deepest")
    for number, own in reversed(list(enumerate(filters, start=1))):
        skip = skips[number - 1]
        x = keras.ops.image.resize(x, skip.shape[1:3], interpolation="bilinear")
        x = keras.layers.Concatenate(name=f"up{number}_join")([x, skip])
        x = _activated(
            keras.layers.Conv2D(own, 3, padding="same", use_bias=False, name=f"up{number}")(x), f"up{number}"
        )
    logits = keras.layers.Conv2D(1 if classes == 2 else classes, 1, name="pixel_logits")(x)
    model = keras.Model(picture, logits, name=name)
    _load_encoder(model)
    return model


def _encoded(x: Any) -> tuple[Any, list[Any]]:
    """Build the encoder: its last features, and what it had before each halving but the first."""
    import keras

    x = _activated(keras.layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="stem")(x), "stem")
    skips, number = [], 0
    for stage in STAGES:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            if stride > 1:
                skips.append(x)
            x = _inverted_residual(x, stage, stride, f"block{number:02d}")
            number += 1
    return x, skips


def _inverted_residual(x: Any, stage: Stage, stride: int, name: str) -> Any:
    """Widen, filter each channel, narrow (Sandler et al. 2018, MobileNetV2, arXiv 1801.04381)."""
    import keras

    before, width = x, x.shape[-1]
    if stage.expansion > 1:
        widened = keras.layers.Conv2D(width * stage.expansion, 1, use_bias=False, name=f"{name}_expand")
        x = _activated(widened(x), f"{name}_expand")
    filtered = keras.layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_dw")
    x = _activated(filtered(x), f"{name}_dw")
    x = keras.layers.Conv2D(stage.width, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalized(x, f"{name}_project")
    return keras.layers.Add(name=f"{name}_sum")([before, x]) if before.shape == x.shape else x


def _normalized(x: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)


def _activated(x: Any, name: str) -> Any:
    import keras

    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(_normalized(x, name))


def _load_encoder(model: keras.Model) -> None:
    """Give the encoder's layers their weights, by name; the decoder keeps those that it was made with."""
    with np.load(WEIGHTS, allow_pickle=False) as kept:
        for layer in model.layers:
            names = [f"{layer.name}/{variable.name}" for variable in layer.weights]
            if names and names[0] in kept:
                layer.set_weights([kept[name].astype(np.float32) for name in names])
