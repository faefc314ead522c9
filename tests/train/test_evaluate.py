"""Metrics against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nanou_train.evaluation.evaluate import constant_mask, segmentation_metrics


def test_metrics_by_hand() -> None:
    # Over both images: TP 2, FP 1, FN 1, TN 4.
    masks = np.array([[[1, 1], [0, 0]], [[1, 0], [0, 0]]])
    predictions = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 0]]])
    metrics = segmentation_metrics(masks, predictions)
    assert metrics["iou_drivable"] == pytest.approx(2 / 4)
    assert metrics["iou_background"] == pytest.approx(4 / 6)
    assert metrics["miou"] == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert metrics["precision"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["f1"] == metrics["dice"] == pytest.approx(4 / 6)


def test_an_absent_class_counts_as_found() -> None:
    nothing = np.zeros((1, 2, 2))
    assert segmentation_metrics(nothing, nothing)["miou"] == 1.0
    assert segmentation_metrics(nothing, nothing + 1)["miou"] == 0.0


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="predictions"):
        segmentation_metrics(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))


def test_constant_mask_is_the_majority_of_the_training_masks() -> None:
    train = np.array([[[1, 0]], [[1, 0]], [[0, 1]]])
    assert constant_mask(train, np.array([[[1, 0]]]))["miou"] == 1.0
    assert constant_mask(train, np.array([[[0, 1]]]))["miou"] == 0.0
