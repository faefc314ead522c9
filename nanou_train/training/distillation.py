"""Compute the losses of supervised training and distillation, and their gradients.

`L = alpha * T^2 * L_KD + (1 - alpha) * L_CE` (Hinton et al. 2015, arXiv 1503.02531; the Nano-U paper, arXiv
2605.10210): alpha weights the distillation term, 0 = no distillation, 1 = pure distillation. All models give logits;
one channel means a sigmoid, several mean a softmax over the last axis. With `ignoring`, pixels whose mask is IGNORE
take no part: means are over the others, on all replicas. Without it there are none, and nothing is computed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanou_train.data.images import IGNORE
from nanou_train.training.inputs import check_input, check_masks

if TYPE_CHECKING:
    import keras

Tensor = Any


def segmentation_loss(y: Tensor, logits: Tensor, *, ignoring: bool = False) -> Tensor:
    """Compute the mean cross entropy of logits and masks, a scalar.

    `logits` (B, H, W, C). For C = 1, `y` is 0/1 of shape (B, H, W) or (B, H, W, 1); else class numbers (B, H, W).
    With `ignoring`, also IGNORE.
    """
    import tensorflow as tf

    known = labelled(y, logits) if ignoring else None
    if logits.shape[-1] == 1:
        targets = tf.reshape(tf.cast(y, logits.dtype), tf.shape(logits))
        if known is not None:
            targets *= known[..., None]
        return _mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), known)
    labels = tf.reshape(tf.cast(y, tf.int32), tf.shape(logits)[:-1])
    if known is not None:
        labels *= tf.cast(known, tf.int32)
    return _mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), known)


def labelled(y: Tensor, logits: Tensor) -> Tensor:
    """Compute 1 where a mask (B, H, W) or (B, H, W, 1) is labelled and 0 where it is IGNORE: (B, H, W)."""
    import tensorflow as tf

    return tf.cast(tf.reshape(tf.cast(y, tf.int32), tf.shape(logits)[:-1]) != IGNORE, logits.dtype)


def _mean(losses: Tensor, known: Tensor | None) -> Tensor:
    """Average losses (B, H, W) or (B, H, W, 1) over the pixels that are known, on all replicas; None: over all.

    Where all are known this is the plain mean, bit by bit.
    """
    import tensorflow as tf

    from nanou_train.networks.distribution import total

    if known is None:
        return tf.reduce_mean(losses)
    all_known = total(tf.reduce_sum(known))
    pixels = total(tf.cast(tf.size(known), losses.dtype))
    kept = tf.where(tf.reshape(known, tf.shape(losses)) > 0, losses, tf.zeros_like(losses))
    return tf.reduce_mean(kept) * (pixels / tf.maximum(all_known, 1.0))


@dataclass(frozen=True)
class Tversky:
    """Share of the Tversky loss in the loss on masks, and its weights of false positives and false negatives."""

    share: float = 0.0
    alpha: float = 0.3
    beta: float = 0.7


NO_TVERSKY = Tversky()


def tversky_loss(y: Tensor, logits: Tensor, alpha: float, beta: float, *, ignoring: bool = False) -> Tensor:
    """Compute 1 - TP / (TP + alpha FP + beta FN), a scalar (Salehi et al. 2017, arXiv 1706.05721).

    Counts are sums of probabilities over all pixels of the batch, on all replicas; alpha = beta = 0.5 is the Dice loss,
    more beta asks for more recall. With C = 1 of the drivable class, else the mean over classes. Shapes as in
    `segmentation_loss`.
    """
    import tensorflow as tf

    from nanou_train.networks.distribution import total

    count = logits.shape[-1]
    if count == 1:
        stated = tf.reshape(tf.sigmoid(logits), [-1, 1])
        true = tf.reshape(tf.cast(y, logits.dtype), [-1, 1])
    else:
        stated = tf.reshape(tf.nn.softmax(logits), [-1, count])
        true = tf.one_hot(tf.reshape(tf.cast(y, tf.int32), [-1]), count, dtype=logits.dtype)  # of IGNORE: all 0
    if ignoring:
        known = tf.reshape(labelled(y, logits), [-1, 1])
        stated, true = stated * known, true * known
    tp, predicted, positive = (total(tf.reduce_sum(part, 0)) for part in (stated * true, stated, true))
    wrong = alpha * (predicted - tp) + beta * (positive - tp)
    return 1.0 - tf.reduce_mean((tp + 1.0) / (tp + wrong + 1.0))  # 1 pixel more: defined where a class is absent


def distillation_loss(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float, known: Tensor | None = None
) -> Tensor:
    """T^2 times the mean Kullback-Leibler divergence from the teacher's to the student's softened output, a scalar.

    The factor T^2 keeps the gradient's size about independent of the temperature. Both (B, H, W, C): Bernoulli
    (sigmoid) for C = 1, categorical (softmax) else. `known` as of `labelled`; None: all pixels.
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
    return temperature**2 * _mean(cross - entropy, known)


def train_step(
    student: keras.Model,
    teacher: keras.Model | None,
    x: Tensor,
    y: Tensor,
    optimizer: keras.optimizers.Optimizer,
    alpha: float = 0.3,
    temperature: float = 4.0,
) -> dict[str, Tensor]:
    """Update the student's weights once; works eagerly and inside tf.function.

    `x` float32 (B, H, W, C) normalized; `y` as in `segmentation_loss`. Returns scalars: `student_loss` (cross
    entropy), `distillation_loss` (with its T^2; 0 without a teacher) and `loss`, which without a teacher is
    `student_loss` whatever alpha is. Raises DataError for an `x` that is not normalized or of another shape than the
    student's, and for a `y` that is no mask of it (values are seen eagerly only).
    """
    check_input(student, x)
    check_masks(student, x, y)
    teacher_logits = None if teacher is None else teacher(x, training=False)
    variables = student.trainable_variables
    losses, gradients = distillation_gradients(
        student, variables, teacher_logits, x, y, alpha, temperature, ignoring=True
    )
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return losses


def distillation_gradients(
    student: keras.Model,
    variables: Sequence[Any],
    teacher_logits: Tensor | None,
    x: Tensor,
    y: Tensor,
    alpha: float = 0.3,
    temperature: float = 4.0,
    tversky: Tversky = NO_TVERSKY,
    *,
    ignoring: bool = False,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Compute the losses that `train_step` returns, and the gradients of `loss` for `variables`, 0 where it has none.

    `teacher_logits` (B, H, W, K) are the teacher's for `x`, None without one.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = student(x, training=True)
        supervised = segmentation_loss(y, logits, ignoring=ignoring)
        if tversky.share:
            overlap = tversky_loss(y, logits, tversky.alpha, tversky.beta, ignoring=ignoring)
            supervised = (1.0 - tversky.share) * supervised + tversky.share * overlap
        if teacher_logits is None:
            distilled, loss = tf.zeros_like(supervised), supervised
        else:
            known = labelled(y, logits) if ignoring else None
            distilled = distillation_loss(tf.stop_gradient(teacher_logits), logits, temperature, known)
            loss = alpha * distilled + (1.0 - alpha) * supervised
    gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {"loss": loss, "student_loss": supervised, "distillation_loss": distilled}, gradients
