"""Make an int8 model of a structure with random weights, to know what a network costs before it is trained.

No TensorFlow: the .tflite file is assembled operator by operator, in the order in which the converter puts those of
`build_model`. Shapes, and so working memory, multiply-accumulates and the tables' sizes, are those of the trained
network. Weights and scales are drawn from what trained students have, by a fixed seed; kernels that depend on them
(how a sum is requantized) are therefore likely ones, not certain ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.builder import ModelBuilder
from nanou_train.networks.structure import Block, Structure, check_structure

ACTIVATION_SCALE = 6 / 255  # what ReLU6 starts quantization-aware training with
INPUT_SCALE, INPUT_ZERO_POINT = 1 / 127.5, -1  # -1 .. 1, as fake quantization rounds it
# Where requantization is by powers of two (nanou_train.networks.power_of_two): of hidden layers and of the input.
POWER_OF_TWO_SCALE, POWER_OF_TWO_INPUT_SCALE = 2.0**-6, 2.0**-7
LOGIT_SCALE, LOGIT_ZERO_POINT = 0.07, 5
# input scale * weight scale / output scale, of each channel of trained students: median and spread of its logarithm.
MULTIPLIER, MULTIPLIER_SPREAD = 0.006, 0.5


def stand_in_model(
    structure: Structure, *, seed: int = 0, power_of_two: bool = False, name: str = "stand_in"
) -> QuantizedModel:
    """Make a model of `structure` for the compiler; its outputs mean nothing. The same seed gives the same bytes.

    With `power_of_two` its scales are those of a network that was trained for such requantization. Raises TrainError
    for a structure that `build_model` would refuse.
    """
    check_structure(structure, name)
    flatbuffer = _flatbuffer(structure, seed, power_of_two)
    names = tuple(f"class{index}" for index in range(structure.classes))
    contract = segmentation(Preprocessing(*structure.input_shape), classes=names, drivable=names[1:])
    return QuantizedModel(name, flatbuffer, contract)


@dataclass(frozen=True)
class _Drawing:
    """Adds layers with drawn weights to a model under construction."""

    builder: ModelBuilder
    rng: np.random.Generator
    power_of_two: bool

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.builder.tensors[tensor]["shape"])

    def convolution(
        self, source: int, width: int, kernel: int, *, depthwise: bool = False, is_logits: bool = False, stride: int = 1
    ) -> int:
        channels, rng = self.shape(source)[3], self.rng
        shape = (1, kernel, kernel, width) if depthwise else (width, kernel, kernel, channels)
        taps = rng.normal(0, 1, (int(np.prod(shape)) // width, width))
        taps *= 127 / np.abs(taps).max(0)  # the largest weight of each channel is 127
        weights = np.round(taps).astype(np.int8)
        weights = (weights if depthwise else weights.T).reshape(shape)
        multipliers = MULTIPLIER * np.exp(rng.normal(0, MULTIPLIER_SPREAD, width))
        if self.power_of_two and not is_logits:
            multipliers = np.exp2(np.round(np.log2(multipliers)))
        bias = np.round(rng.normal(20, 50, width) / multipliers).astype(np.int32)
        hidden_scale = POWER_OF_TWO_SCALE if self.power_of_two else ACTIVATION_SCALE
        scale = LOGIT_SCALE if is_logits else hidden_scale
        scales = multipliers * scale / self.builder.tensors[source]["scales"][0]
        return self.builder.convolution(
            source,
            weights,
            scales.tolist(),
            bias,
            scale=scale,
            zero_point=LOGIT_ZERO_POINT if is_logits else -128,
            depthwise=depthwise,
            stride=(stride, stride),
            activation="none" if is_logits else "relu6",
        )

    def chain(self, value: int, blocks: tuple[Block, ...], *, separable: bool) -> int:
        for block in blocks:
            if separable:
                value = self.convolution(value, self.shape(value)[3], block.kernel, depthwise=True)
                value = self.convolution(value, block.width, 1)
            else:
                value = self.convolution(value, block.width, block.kernel)
        return value


def _flatbuffer(structure: Structure, seed: int, power_of_two: bool) -> bytes:
    builder, separable = ModelBuilder(), structure.architecture == "nano_u"
    drawing = _Drawing(builder, np.random.default_rng(seed), power_of_two)
    of_input = (POWER_OF_TWO_INPUT_SCALE, 0) if power_of_two else (INPUT_SCALE, INPUT_ZERO_POINT)
    source = value = builder.activation((1, *structure.input_shape), *of_input)
    if structure.stem:
        value = drawing.convolution(value, structure.stem.width, structure.stem.kernel, stride=structure.stride)
    encoded: list[int] = []
    for level in structure.levels:
        value = drawing.chain(value, level.encoder, separable=separable)
        encoded.append(value)
        value = builder.max_pool(value, level.pool, level.pool)
    value = drawing.chain(value, structure.bottleneck, separable=separable)
    for level, skip in zip(structure.levels[::-1], encoded[::-1], strict=True):
        rows, columns = drawing.shape(skip)[1:3]
        value = builder.resize_nearest(value, (rows, columns))
        if level.skip:
            value = builder.concatenate([value, _quantized_alike(builder, skip, value)])
        value = drawing.chain(value, level.decoder, separable=separable)
    logits = drawing.convolution(value, structure.logit_channels, 1, is_logits=True)
    if structure.stem:
        logits = builder.depth_to_space(logits, structure.stride)
    return builder.finish([source], [logits])


def _quantized_alike(builder: ModelBuilder, skip: int, other: int) -> int:
    """Only the picture itself, where a level has no encoder, is quantized otherwise than what it is joined with."""
    own, wanted = builder.tensors[skip], builder.tensors[other]
    if (own["scales"], own["zeros"]) == (wanted["scales"], wanted["zeros"]):
        return skip
    return builder.quantize(skip, wanted["scales"][0], wanted["zeros"][0])
