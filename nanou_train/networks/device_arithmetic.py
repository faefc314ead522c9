"""Compute with TFLite's integers in a quantization-aware Keras graph, so that its logits equal the device's.

Rounding weights and activations explains an int8 model up to one or two activations in a thousand per layer. The rest
is two details. The bias is an integer number of accumulator steps. And the accumulator is scaled to the output in two
roundings (TFLite's MultiplyByQuantizedMultiplier: SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT by k
bits), so that what lies just below one half is rounded up twice. `match_device` lets each convolution compute this, in
integers. It acts in inference only and is no part of the model: what is exported is without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.start_tensorflow import import_tensorflow
from codegen.tflite.power_of_two import coarser
from nanou_train.networks.fake_quant import (
    LEVELS,
    DeviceArithmetic,
    FakeQuant,
    FakeQuantConv2D,
    FakeQuantDepthwiseConv2D,
)
from nanou_train.networks.inference import forget_graph
from nanou_train.networks.power_of_two import surroundings

tf = import_tensorflow()

if TYPE_CHECKING:
    import keras


def match_device(model: keras.Model, matched: bool = True) -> None:
    """Let the inference of a quantization-aware model follow TFLite's integers from now on, or no longer.

    The constants are those of the weights that the model has now, and count for graphs traced afterwards.
    """
    for layer in model.layers:
        if isinstance(layer, FakeQuantConv2D | FakeQuantDepthwiseConv2D):
            found = surroundings(layer)
            assert found is not None  # the graph is complete
            source, normalization, target = found
            layer.device = _device_arithmetic(layer, normalization, source, target) if matched else None
            if normalization is not None:
                normalization.on_device = matched
    forget_graph(model)


def _device_arithmetic(layer: Any, normalization: Any, source: FakeQuant, target: FakeQuant) -> DeviceArithmetic:
    """Scales are computed in float32, in the converter's order, because the file holds them so."""
    axes = (0, 1, 3) if isinstance(layer, FakeQuantDepthwiseConv2D) else (0, 1, 2)
    kernel = np.asarray(layer.kernel_for_call())
    top = np.abs(kernel).max(axes, keepdims=True)
    factor = np.ones(top.size, np.float32)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else np.zeros(top.size)
    if normalization is not None:
        gamma, beta, mean, variance = normalization.get_weights()
        factor = np.asarray(tf.math.rsqrt(variance + np.float32(normalization.epsilon))) * gamma
        bias = beta.astype(np.float64) + (bias - mean) * factor
    folded = np.abs(kernel * factor.reshape(top.shape)).max(axes)
    scale = np.where(folded > 0, folded / LEVELS, 1.0).astype(np.float32).astype(np.float64)
    input_step, output_step = source.step(), target.step()
    bias = np.round(bias / (input_step * scale))
    levels = np.full(scale.shape, LEVELS)
    if target.power_of_two:  # the converter's file is rewritten (codegen.tflite.power_of_two)
        coarse = coarser(scale, output_step / input_step)
        bias, levels, scale = np.round(bias * (scale / coarse)), LEVELS * scale / coarse, coarse
    multiplier = input_step * scale / output_step
    _, exponent = np.frexp(multiplier)
    return DeviceArithmetic(
        input_step=input_step,
        output_step=output_step,
        kernel=np.round(kernel / np.where(top > 0, top, 1.0) * levels.reshape(top.shape)).astype(np.float32),
        multiplier=multiplier * np.sign(factor),
        bias=bias * multiplier,
        halves=np.exp2(np.maximum(-exponent, 0).astype(np.float64)),
    )
