"""Pixels that nobody has labelled change no loss, gradient, score, threshold or baseline, whatever is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import Dataset, Split
from nanou_train.data.images import IGNORE
from nanou_train.errors import DataError
from nanou_train.evaluation.evaluate import constant_mask, evaluate_logits, keras_predictor, segmentation_metrics
from nanou_train.evaluation.metrics import boundary_f

RNG = np.random.default_rng(0)


def _masks(classes: int, *shape: int) -> Any:
    masks = RNG.integers(0, classes, shape).astype(np.uint8)
    masks[:, :, : shape[2] // 4] = IGNORE
    return masks


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_the_labelled_pixels(classes: int) -> None:
    names = tuple("abc"[:classes])
    masks = _masks(classes, 4, 12, 16)
    logits = RNG.normal(size=(4, 12, 16) if classes == 2 else (4, 12, 16, 3)).astype(np.float32)
    other = logits.copy()
    other[:, :, :4] += 9.0  # what is said of pixels that nobody has labelled
    stems = tuple("wxyz")
    images = np.zeros((4, 12, 16, 3), np.uint8)
    found = [
        evaluate_logits(keras_predictor(None, None), one, Split(images, masks, stems), names, threshold=0.5)  # type: ignore[arg-type]
        for one in (logits, other)
    ]
    cropped = Split(images[:, :, 4:], masks[:, :, 4:], stems)
    alone = evaluate_logits(keras_predictor(None, None), logits[:, :, 4:], cropped, names, threshold=0.5)  # type: ignore[arg-type]
    for name in ("metrics", "confusion", "calibration", "sweep", "average_precision"):
        assert getattr(found[0], name) == getattr(found[1], name) == getattr(alone, name), name
    assert sum(map(sum, alone.confusion)) == 4 * 12 * 12


def test_a_boundary_beside_what_is_ignored_is_none() -> None:
    truth = np.zeros((1, 6, 8), np.uint8)
    truth[:, 3:] = 1
    ignored = truth.copy()
    ignored[:, 2:4, :5] = IGNORE
    assert boundary_f(truth, truth, 2) == boundary_f(ignored, truth, 2) == (1.0, 1.0)
    everything = np.full_like(truth, IGNORE)
    assert boundary_f(everything, truth, 2) == (None, None)


def test_the_constant_mask_takes_the_majority_of_those_who_labelled() -> None:
    train = np.array([[[IGNORE, 1, 0]], [[IGNORE, IGNORE, 0]], [[1, IGNORE, 1]]], np.uint8)
    assert constant_mask(train, np.array([[[1, 1, 0]]], np.uint8))["miou"] == 1.0
    assert constant_mask(train, np.array([[[1, IGNORE, 0]]], np.uint8), ("a", "b", "c"))["miou"] == 1.0


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_and_gradients_are_those_of_the_labelled_pixels(
    classes: int, require_module: Callable[[str], None]
) -> None:
    require_module("tensorflow")
    import tensorflow as tf

    from nanou_train.training.distillation import distillation_loss, labelled, segmentation_loss, tversky_loss

    masks = _masks(classes, 2, 4, 8)
    channels = 1 if classes == 2 else classes
    values, teacher = RNG.normal(size=(2, 2, 4, 8, channels)).astype(np.float32)

    def losses(y: Any, x: Any, t: Any, *, ignoring: bool) -> Any:
        logits = tf.Variable(x)
        with tf.GradientTape() as tape:
            known = labelled(y, logits) if ignoring else None
            parts = (
                segmentation_loss(y, logits, ignoring=ignoring),
                tversky_loss(y, logits, 0.3, 0.7, ignoring=ignoring),
                distillation_loss(tf.constant(t), logits, 4.0, known),
            )
            total = sum(parts)
        return [float(part) for part in parts], tape.gradient(total, logits).numpy()

    here, gradient = losses(masks, values, teacher, ignoring=True)
    alone, cropped = losses(masks[:, :, 2:], values[:, :, 2:], teacher[:, :, 2:], ignoring=False)
    assert here == pytest.approx(alone, rel=1e-5)
    assert not gradient[:, :, :2].any()
    assert gradient[:, :, 2:] == pytest.approx(cropped, abs=1e-6)
    full = np.where(masks == IGNORE, 0, masks).astype(np.uint8)
    for with_it, without in zip(
        losses(full, values, teacher, ignoring=True), losses(full, values, teacher, ignoring=False), strict=True
    ):
        assert np.array_equal(with_it, without)  # bit by bit
    nothing, none = losses(np.full_like(masks, IGNORE), values, teacher, ignoring=True)
    assert np.isfinite(nothing).all()
    assert not none.any()


def test_training_never_sees_what_is_under_them(small: Dataset, require_module: Callable[[str], None]) -> None:
    """Also through distillation with views and blended pictures: the network learns from the other pixels."""
    require_module("tensorflow")
    from nanou_train.networks.architectures import create_nano_u
    from nanou_train.training.inputs import check_masks
    from nanou_train.training.train import train_with_distillation

    masks = np.array(small.train.masks)
    masks[:, :4] = IGNORE
    data = Split(small.train.images, masks, small.train.stems)
    keys = {
        "epochs": 1, "batch_size": 8, "augment": "full", "teacher_cache": True, "teacher_views": 2, "blend": 1.0,
        "input_size": (24, 32),
    }  # fmt: skip
    student, teacher = (create_nano_u((24, 32, 3), [4], 4, name=name) for name in ("student", "teacher"))
    history = train_with_distillation(student, teacher, keys, data, data)
    assert np.isfinite([history.val_miou, history.history[0]["loss"]]).all()
    with pytest.raises(DataError, match="0 and 255 only"):
        check_masks(student, data.images, np.where(masks == 1, 255, 0))


def test_metrics_count_labelled_pixels_only() -> None:
    truth, said = np.array([[[0, 1, IGNORE]]], np.uint8), np.array([[[0, 1, 1]]], np.uint8)
    assert segmentation_metrics(truth, said)["miou"] == segmentation_metrics(truth, said)["accuracy"] == 1.0
