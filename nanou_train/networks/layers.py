"""Define layers that Keras has not: a batch normalization that is fast where channels are few, and depth to space.

Import only where TensorFlow may be loaded.
"""

from __future__ import annotations

from typing import Any

from codegen.start_tensorflow import import_tensorflow
from nanou_train.networks.distribution import replicas_here, total

tf = import_tensorflow()
import keras  # noqa: E402  the line above silences TensorFlow and fixes Keras' backend first


@keras.saving.register_keras_serializable(package="nanou_train")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over NHWC, fast where channels are few.

    For inference it is TensorFlow's fused kernel: the converter names each folded operator after one operation
    instead of the six of Keras 3, which took 10 KB of names off the .tflite file. In training, that kernel's time goes
    with the number of pixels, whatever the number of channels. So there, a row of pixels counts as one long vector, and
    the channels' sums are folded together at the end: 30 % less CPU time for a whole training step of Nano-U.
    """

    frozen = False  # True: normalize by the moving statistics and leave them as they are; read when tracing
    on_device = False  # True: the convolution before it has done what this layer would, in integers

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self.trainable and not self.frozen:
            gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
            outputs, mean, variance = _normalized_by_batch(inputs, gamma, beta, tf.constant(self.epsilon))
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + tf.stop_gradient(batch) * (1.0 - self.momentum))
            return outputs
        if self.on_device:
            return inputs
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=False,
        )[0]


@keras.saving.register_keras_serializable(package="nanou_train")
class DepthToSpace(keras.layers.Layer):
    """Moves blocks of channels to pixels: (N, H, W, C) -> (N, H * side, W * side, C / side^2). One DEPTH_TO_SPACE."""

    def __init__(self, side: int, **names: Any) -> None:
        super().__init__(**names)
        self.side = side

    def call(self, inputs: Any) -> Any:
        return tf.nn.depth_to_space(inputs, self.side)

    def compute_output_shape(self, input_shape: tuple[int | None, int, int, int]) -> tuple[int | None, int, int, int]:
        count, height, width, channels = input_shape
        return count, height * self.side, width * self.side, channels // self.side**2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


@tf.custom_gradient
def _normalized_by_batch(x: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
    """Batch normalization in training (Ioffe and Szegedy 2015, arXiv 1502.03167) and its gradient.

    `x` (N, H, W, C) -> the same shape, mean (C,) and unbiased variance (C,); no gradient flows from those two. With
    several replicas, the batch is all of theirs.
    """
    width, channels = x.shape[2:]
    count = tf.cast(tf.size(x) // channels * replicas_here(), x.dtype)

    def packed(image: Any) -> Any:
        return tf.reshape(image, (-1, width * channels))

    def repeated(vector: Any) -> Any:
        return tf.tile(vector, [width])

    def channel_sum(rows: Any) -> Any:
        return tf.reduce_sum(tf.reshape(tf.reduce_sum(rows, 0), (width, channels)), 0)

    mean = total(channel_sum(packed(x))) / count
    centered = packed(x) - repeated(mean)
    variance = total(channel_sum(centered * centered)) / count
    inverse = tf.math.rsqrt(variance + epsilon)

    def gradient(upstream: Any, _mean: Any, _variance: Any) -> tuple[Any, Any, Any, None]:
        rows = packed(upstream)
        beta_gradient, gamma_gradient = channel_sum(rows), channel_sum(rows * centered) * inverse
        beta_total, gamma_total = total(beta_gradient), total(gamma_gradient)
        common = repeated(beta_total / count) + centered * repeated(gamma_total * inverse / count)
        return tf.reshape((rows - common) * repeated(gamma * inverse), tf.shape(x)), gamma_gradient, beta_gradient, None

    outputs = tf.reshape(centered * repeated(gamma * inverse) + repeated(beta), tf.shape(x))
    return (outputs, mean, variance * (count / tf.maximum(count - 1.0, 1.0))), gradient
