"""Metrics, curves and calibration against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.graph.model import logit
from nanou_train.evaluation.curves import (
    SweepPoint,
    average_precision,
    best_threshold,
    calibration,
    probabilities,
    sweep,
)
from nanou_train.evaluation.metrics import (
    boundary_f,
    class_scores,
    confusion_matrix,
    f_beta,
    image_confusions,
    metrics_of,
    segmentation_metrics,
)

TRUTH = np.array([[[0, 0, 1], [1, 2, 2]]])
PREDICTED = np.array([[[0, 1, 1], [1, 2, 0]]])


def test_confusion_by_hand() -> None:
    assert confusion_matrix(TRUTH, PREDICTED, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    both = image_confusions(np.concatenate([TRUTH, PREDICTED]), np.concatenate([PREDICTED, PREDICTED]), 3)
    assert both[0].tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert both[1].tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match="predictions"):
        confusion_matrix(TRUTH, PREDICTED[..., :2], 3)


def test_three_classes_by_hand() -> None:
    metrics = metrics_of(confusion_matrix(TRUTH, PREDICTED, 3), ("sky", "tree", "road"))
    assert metrics["iou_sky"] == pytest.approx(1 / 3)
    assert metrics["iou_tree"] == pytest.approx(2 / 3)
    assert metrics["iou_road"] == pytest.approx(1 / 2)
    assert metrics["miou"] == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)
    assert metrics["dice"] == pytest.approx((2 / 4 + 4 / 5 + 2 / 3) / 3)
    assert metrics["precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert metrics["recall"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert metrics["accuracy"] == pytest.approx(4 / 6)


def test_f_beta_by_hand() -> None:
    # Precision 0.8, recall 0.5.
    tp, fp, fn = 8, 2, 8
    assert f_beta(tp, fp, fn, 1) == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert f_beta(tp, fp, fn, 0.5) == pytest.approx(1.25 * 0.8 * 0.5 / (0.25 * 0.8 + 0.5))
    assert f_beta(tp, fp, fn, 2) == pytest.approx(5 * 0.8 * 0.5 / (4 * 0.8 + 0.5))
    assert f_beta(0, 0, 0, 2) == 1.0
    assert f_beta(0, 0, 1, 2) == f_beta(0, 1, 0, 2) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_metrics_are_consistent(seed: int, class_count: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, class_count, (2, 3, 4, 5))
    names = [f"c{index}" for index in range(class_count)]
    scores = class_scores(confusion_matrix(truth, predicted, class_count), names, [None] * class_count)
    assert sum(one.share for one in scores) == pytest.approx(1)
    for index, one in enumerate(scores):
        ours, theirs = predicted == index, truth == index
        union = (ours | theirs).sum()
        assert one.iou == pytest.approx((ours & theirs).sum() / union if union else 1)
        assert one.dice == pytest.approx(2 * one.iou / (1 + one.iou))
        low, high = sorted((one.precision, one.recall))
        assert low - 1e-9 <= min(one.f05, one.f2) <= max(one.f05, one.f2) <= high + 1e-9
    perfect = segmentation_metrics(truth, truth, names)
    assert perfect["miou"] == perfect["accuracy"] == 1.0


# ---- Boundaries ------------------------------------------------------------------------------------------------


def lower_half(from_row: int, height: int = 60, width: int = 80) -> np.ndarray:  # type: ignore[type-arg]
    mask = np.zeros((1, height, width), np.uint8)
    mask[:, from_row:] = 1
    return mask


def test_boundary_tolerates_one_pixel() -> None:
    truth = lower_half(30)
    assert boundary_f(truth, truth, 2) == (1.0, 1.0)
    assert boundary_f(truth, lower_half(31), 2) == (1.0, 1.0)  # 0.75 % of the diagonal of 100 is below one pixel
    assert boundary_f(truth, lower_half(32), 2) == (0.0, 0.0)


def test_boundary_tolerance_grows_with_the_image() -> None:
    truth = lower_half(200, 300, 400)  # diagonal 500: 3.75 pixels
    assert boundary_f(truth, lower_half(203, 300, 400), 2)[1] == 1.0
    assert boundary_f(truth, lower_half(204, 300, 400), 2)[1] == 0.0


def test_boundary_precision_and_recall() -> None:
    truth = lower_half(30)
    predicted = truth.copy()
    predicted[:, :, 40:] = 0  # right half missed: a vertical edge too much, half of the horizontal one found
    precision = (40 + 2) / (40 + 29)  # of the corner's column two pixels lie within one of the true edge
    recall = 41 / 80
    assert boundary_f(truth, predicted, 2)[1] == pytest.approx(2 * precision * recall / (precision + recall), abs=0.02)


def test_boundary_of_nothing() -> None:
    empty, full = np.zeros((2, 6, 8), np.uint8), np.ones((2, 6, 8), np.uint8)
    assert boundary_f(empty, full, 2) == (None, None)  # the image's edge is no boundary
    half = np.concatenate([empty[:1], lower_half(3, 6, 8)])
    assert boundary_f(half, empty, 2) == (0.0, 0.0)  # over the one image that has an edge


# ---- Curves ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_sweep_equals_deciding_at_each_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 2, (2, 4, 5))
    logits = np.round(rng.normal(masks * 2.0 - 1, 2), 1)  # with ties
    for point in sweep(logits, masks, logit, (0.1, 0.5, 0.8)):
        expected = segmentation_metrics(masks, logits >= logit(point.threshold))
        for key in ("miou", "iou_drivable", "precision", "recall", "f05", "f1", "f2"):
            assert getattr(point, key) == pytest.approx(expected[key])


def test_best_threshold_is_the_middle_of_equals() -> None:
    scores = (0.1, 0.9, 0.9, 0.9, 0.2)
    points = [SweepPoint(index / 10, score, 0, 0, 0, 0, 0, 0) for index, score in enumerate(scores)]
    assert best_threshold(points, "miou") == 0.2


def test_average_precision_by_hand() -> None:
    # Ranked: hit, miss, hit, miss. AP = 1/2 * 1 + 1/2 * 2/3.
    assert average_precision(np.array([4.0, 3, 2, 1]), np.array([1, 0, 1, 0])) == pytest.approx(0.5 + 1 / 3)
    assert average_precision(np.array([1.0, 1, 1, 1]), np.array([1, 0, 1, 0])) == pytest.approx(0.5)  # all equal
    assert average_precision(np.array([1.0, 2]), np.array([0, 0])) == 1.0


def test_calibration_by_hand() -> None:
    # Two pixels at 0.9, one of them right; two at 0.2, none right: ECE = (2 * 0.4 + 2 * 0.2) / 4.
    found = calibration(np.array([0.9, 0.9, 0.2, 0.2]), np.array([1, 0, 0, 0]), bins=10)
    assert found.ece == pytest.approx(0.3)
    assert [(one.pixels, one.accuracy) for one in found.bins] == [(2, 0.0), (2, 0.5)]
    rng = np.random.default_rng(0)
    stated = rng.random(200_000)
    assert calibration(stated, rng.random(200_000) < stated).ece < 0.01
    assert calibration(np.array([1.0]), np.array([1])).ece == 0.0


def test_probabilities() -> None:
    assert probabilities(np.array([[[0.0, 2.0]]]))[0, 0] == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    softmax = probabilities(np.array([[[[1.0, 2.0, 3.0]]]]))[0, 0, 0]
    assert softmax == pytest.approx(np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum())
