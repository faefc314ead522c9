"""Measure a model's size: parameters and bytes, in float and as the int8 model that is deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanou_train.networks.architectures import count_parameters

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ModelSize:
    """A model's sizes: `float_bytes` of all weights, moving statistics too; `int8_bytes` of the int8 model's constants.

    The int8 model has batch normalization folded: kernels of one byte, biases and sizes of four. Its .tflite file has
    scales, names and the graph beside them.
    """

    name: str
    trainable_parameters: int
    float_parameters: int
    float_bytes: int
    int8_parameters: int
    int8_bytes: int


def model_size(model: keras.Model) -> ModelSize:
    """Measure a model by its layers; nothing is converted."""
    import keras

    kernels = sum(
        layer.kernel.shape.num_elements()
        for layer in model.operations
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    )
    deployed = count_parameters(model, deployed=True)
    floats = int(sum(weight.shape.num_elements() for weight in model.weights))
    return ModelSize(
        model.name, count_parameters(model), floats, 4 * floats, deployed, int(kernels + 4 * (deployed - kernels))
    )
