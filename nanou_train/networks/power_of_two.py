"""Keep the scales of a fake-quantized network at powers of two, so that requantization is a shift.

TFLite scales an accumulator by input scale * weight scale / output scale. Activations behind ReLU take steps that are
powers of two, and the weights of each output channel, with the batch normalization behind them folded in, the least
power of two that holds the largest of them in 127 steps: then all of these factors are powers of two
(codegen.tflite.power_of_two makes the same of the converter's file). While batch statistics still move, weights are
rounded for the moving ones.
"""

from __future__ import annotations

import math
from typing import Any

from codegen.start_tensorflow import import_tensorflow
from codegen.tflite.power_of_two import SLACK
from nanou_train.networks.layers import FusedBatchNormalization

tf = import_tensorflow()

Tensor = Any
_LEAST_FACTOR = 1e-12  # of a normalization that silences its channel


def power_of_two(exponent: Tensor) -> Tensor:
    """Compute 2^exponent of whole float32 numbers, exactly: a logarithm's inverse is off by a bit here and there."""
    return tf.bitcast(tf.bitwise.left_shift(tf.cast(exponent, tf.int32) + 127, 23), tf.float32)


def nearest_exponent(step: Tensor, at_most: float) -> Tensor:
    """Find k of the 2^k nearest to `step`, by ratio, among those that are not above `at_most`."""
    nearest = tf.floor(tf.math.log(tf.stop_gradient(step)) / math.log(2.0) + 0.5)
    return tf.minimum(nearest, float(math.floor(math.log2(at_most))))


def covering_exponent(step: Tensor) -> Tensor:
    """Find k of the least 2^k that is not below `step`, but for what float32 may have lost."""
    return tf.math.ceil(tf.math.log(step) / math.log(2.0) - SLACK)


def weight_unit(layer: Any) -> Tensor | None:
    """Give what the step of a convolution's kernel has to be a power of two of, (.., C); None where it may be any.

    That is output scale / input scale, less the factor of the normalization that will be folded in.
    """
    found = surroundings(layer)
    if found is None:
        return None
    source, normalization, target = found
    if not target.power_of_two:
        return None
    (low_in, high_in), (low_out, high_out) = source.ends(), target.ends()
    unit = tf.stop_gradient((high_out - low_out) / (high_in - low_in))
    if normalization is None:
        return unit
    factor = normalization.gamma * tf.math.rsqrt(normalization.moving_variance + normalization.epsilon)
    size = tf.maximum(tf.abs(tf.stop_gradient(tf.convert_to_tensor(factor))), _LEAST_FACTOR)
    is_depthwise = hasattr(layer, "depth_multiplier")
    return unit / (tf.reshape(size, layer.kernel.shape[2:]) if is_depthwise else size)


def surroundings(layer: Any) -> tuple[Any, FusedBatchNormalization | None, Any] | None:
    """Find a convolution's range before, normalization behind and range behind; None while its graph is built.

    A convolution has one reader: what two read would need a range of its own.
    """
    behind, normalization = layer, None
    while not hasattr(behind, "power_of_two"):
        if not behind._outbound_nodes:
            return None
        behind = behind._outbound_nodes[0].operation
        normalization = behind if isinstance(behind, FusedBatchNormalization) else normalization
    return range_before(layer.input), normalization, behind


def range_before(tensor: Any) -> Any:
    """Find the range of a convolution's input, which pooling, resizing and joining keep."""
    operation, node_index, _ = tensor._keras_history
    if hasattr(operation, "power_of_two"):
        return operation
    return range_before(operation._inbound_nodes[node_index].input_tensors[0])
