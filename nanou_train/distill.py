"""Losses of supervised training and distillation, and the one training step that both use.

`L = alpha * T^2 * L_KD + (1 - alpha) * L_CE` (Hinton et al. 2015, arXiv 1503.02531; the Nano-U paper, arXiv
2605.10210): alpha weights the distillation term, 0 = no distillation, 1 = pure distillation. All models give logits;
one channel means a sigmoid, several mean a softmax over the last axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanou_train.inputs import check_input, check_masks

if TYPE_CHECKING:
    import keras

Tensor = Any


def segmentation_loss(y: Tensor, logits: Tensor) -> Tensor:
    """Mean cross entropy, a scalar.

    `logits` (B, H, W, C). For C = 1, `y` is 0/1 of shape (B, H, W) or (B, H, W, 1); else class numbers (B, H, W).
    """
    import tensorflow as tf

    if logits.shape[-1] == 1:
        targets = tf.reshape(tf.cast(y, logits.dtype), tf.shape(logits))
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits))
    labels = tf.reshape(tf.cast(y, tf.int32), tf.shape(logits)[:-1])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def distillation_loss(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean Kullback-Leibler divergence from the teacher's to the student's softened output, a scalar.

    The factor T^2 keeps the gradient's size about independent of the temperature. Both (B, H, W, C): Bernoulli
    (sigmoid) for C = 1, categorical (softmax) else.
    """
    import tensorflow as tf

    teacher, student = teacher_logits / temperature, student_logits / temperature
    if student_logits.shape[-1] == 1:
        p = tf.sigmoid(teacher)
        cross = tf.nn.sigmoid_cross_entropy_with_logits(labels=p, logits=student)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=p, logits=teacher)
    else:
        p = tf.nn.softmax(teacher)
        cross = tf.nn.softmax_cross_entropy_with_logits(labels=p, logits=student)
        entropy = tf.nn.softmax_cross_entropy_with_logits(labels=p, logits=teacher)
    return temperature**2 * tf.reduce_mean(cross - entropy)


def train_step(
    student: keras.Model,
    teacher: keras.Model | None,
    x: Tensor,
    y: Tensor,
    optimizer: keras.optimizers.Optimizer,
    alpha: float = 0.3,
    temperature: float = 4.0,
) -> dict[str, Tensor]:
    """One update of the student's weights; works eagerly and inside tf.function.

    `x` float32 (B, H, W, C) normalized; `y` as in `segmentation_loss`. Returns scalars: `student_loss` (cross
    entropy), `distillation_loss` (with its T^2; 0 without a teacher) and `loss`, which without a teacher is
    `student_loss` whatever alpha is. Raises DataError for an `x` that is not normalized or of another shape than the
    student's, and for a `y` that is no mask of it (values are seen eagerly only).
    """
    check_input(student, x)
    check_masks(student, x, y)
    teacher_logits = None if teacher is None else teacher(x, training=False)
    return distillation_step(student, teacher_logits, x, y, optimizer, alpha, temperature)


def distillation_step(
    student: keras.Model,
    teacher_logits: Tensor | None,
    x: Tensor,
    y: Tensor,
    optimizer: keras.optimizers.Optimizer,
    alpha: float = 0.3,
    temperature: float = 4.0,
) -> dict[str, Tensor]:
    """As `train_step`, with the teacher's logits (B, H, W, K) for `x` given instead of computed."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = student(x, training=True)
        supervised = segmentation_loss(y, logits)
        if teacher_logits is None:
            distilled, loss = tf.zeros_like(supervised), supervised
        else:
            distilled = distillation_loss(tf.stop_gradient(teacher_logits), logits, temperature)
            loss = alpha * distilled + (1.0 - alpha) * supervised
    gradients = tape.gradient(loss, student.trainable_variables)
    optimizer.apply_gradients(zip(gradients, student.trainable_variables, strict=True))
    return {"loss": loss, "student_loss": supervised, "distillation_loss": distilled}
