"""Keras layers of our own. Import this module only where TensorFlow may be loaded."""

from __future__ import annotations

from typing import Any

from codegen.quantize import import_tensorflow

tf = import_tensorflow()
import keras  # noqa: E402  the line above silences TensorFlow and fixes Keras' backend first


@keras.saving.register_keras_serializable(package="nanou_train")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """BatchNormalization over NHWC that trains through TensorFlow's fused kernel.

    Keras 3 computes moments and normalization as separate operations, which made a training step of Nano-U a third
    slower on two cores. Inference is the parent's, so the converter folds it as usual.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not self.trainable:
            return super().call(inputs, training=False, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.stop_gradient(batch) * (1.0 - self.momentum))
        return outputs
