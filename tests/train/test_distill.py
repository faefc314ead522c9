"""The training step: what alpha and temperature do, and that a student learns from its teacher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.start_tensorflow import import_tensorflow
from nanou_train.networks.architectures import create_bu_net, create_nano_u
from nanou_train.training.distillation import distillation_loss, segmentation_loss, train_step

SHAPE = (16, 16, 3)


@pytest.fixture(autouse=True)
def _seeded(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(1)


def _batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.uniform(-1, 1, (4, *SHAPE)).astype(np.float32), (rng.random((4, 16, 16)) < 0.4).astype(np.float32)


def _step(alpha: float, temperature: float = 4.0, *, with_teacher: bool = True, rate: float = 0.1) -> tuple:
    import keras

    student, teacher = create_nano_u(SHAPE, (4,), 4), create_bu_net(SHAPE, (4,), 4)
    before = [weight.numpy().copy() for weight in student.trainable_variables]
    frozen = [weight.copy() for weight in teacher.get_weights()]
    losses = train_step(
        student, teacher if with_teacher else None, *_batch(), keras.optimizers.SGD(rate), alpha, temperature
    )
    for was, now in zip(frozen, teacher.get_weights(), strict=True):
        assert np.array_equal(was, now), "the teacher must not learn"
    change = [weight.numpy() - was for weight, was in zip(student.trainable_variables, before, strict=True)]
    return {key: float(value) for key, value in losses.items()}, change


def test_alpha_weights_the_distillation_term() -> None:
    for alpha in (0.0, 0.3, 1.0):
        losses, _ = _step(alpha)
        expected = alpha * losses["distillation_loss"] + (1 - alpha) * losses["student_loss"]
        assert losses["loss"] == pytest.approx(expected, rel=1e-5)
        assert losses["distillation_loss"] > 0


def test_losses_are_scalars() -> None:
    import keras

    losses = train_step(create_nano_u(SHAPE, (4,), 4), None, *_batch(), keras.optimizers.SGD(0.1))
    assert set(losses) == {"loss", "student_loss", "distillation_loss"}
    assert all(tuple(value.shape) == () for value in losses.values())


def test_alpha_0_is_training_without_a_teacher() -> None:
    import keras

    _, with_teacher = _step(0.0)
    keras.utils.set_random_seed(1)
    losses, without = _step(0.7, with_teacher=False)
    assert losses["distillation_loss"] == 0.0
    assert losses["loss"] == losses["student_loss"]
    for one, other in zip(with_teacher, without, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_gradient_flows_into_every_weight_from_the_teacher_alone() -> None:
    _, change = _step(1.0)
    assert all(np.abs(delta).max() > 0 for delta in change)


def test_the_factor_t2_keeps_the_gradient_size() -> None:
    """For small logits the gradient of T^2 KL(s(t/T), s(s/T)) tends to (s - t) / 4, whatever T is."""
    import tensorflow as tf

    teacher = tf.constant(np.linspace(-0.2, 0.2, 8, dtype=np.float32).reshape(1, 2, 4, 1))
    student = tf.Variable(tf.zeros_like(teacher) + 0.1)
    for temperature in (2.0, 8.0, 32.0):
        with tf.GradientTape() as tape:
            loss = distillation_loss(teacher, student, temperature)
        gradient = tape.gradient(loss, student).numpy() * student.numpy().size
        np.testing.assert_allclose(gradient, (student.numpy() - teacher.numpy()) / 4, atol=2e-3)


def test_distillation_is_zero_for_equal_logits_and_not_for_one_channel() -> None:
    import tensorflow as tf

    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 1)).astype(np.float32))
    assert float(distillation_loss(logits, logits, 4.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(distillation_loss(logits, -logits, 4.0)) > 0.01  # softmax over one channel would give 0


def test_several_classes_use_a_softmax() -> None:
    import tensorflow as tf

    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32))
    labels = tf.constant(np.random.default_rng(1).integers(0, 3, (1, 4, 4)))
    log_p = logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    expected = -np.take_along_axis(log_p.numpy(), labels.numpy()[..., None], axis=-1).mean()
    assert float(segmentation_loss(labels, logits)) == pytest.approx(expected, rel=1e-5)
    assert float(distillation_loss(logits, logits[..., ::-1], 1.0)) > 0.1


def test_masks_with_and_without_a_channel_axis_are_the_same() -> None:
    import tensorflow as tf

    _, y = _batch()
    logits = tf.random.normal((4, 16, 16, 1), seed=1)
    assert float(segmentation_loss(y, logits)) == float(segmentation_loss(y[..., None], logits))
    flipped = segmentation_loss(1 - y, logits)
    assert float(flipped) != float(segmentation_loss(y, logits))


def test_pure_distillation_moves_the_student_to_the_teacher() -> None:
    import keras
    import tensorflow as tf

    student, teacher = create_nano_u(SHAPE, (4,), 4), create_bu_net(SHAPE, (4,), 4)
    x, y = _batch()
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(student.trainable_variables)
    step = tf.function(lambda a, b: train_step(student, teacher, a, b, optimizer, 1.0, 2.0))
    values = [float(step(tf.constant(x), tf.constant(y))["distillation_loss"]) for _ in range(40)]
    assert values[-1] < 0.6 * values[0]
