"""Sweep the decision threshold, and measure how well a model's probabilities are calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanou_train.data.images import IGNORE
from nanou_train.evaluation.metrics import f_beta, ratio

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Cut = Callable[[float], float]  # probability -> the logit from which on a pixel counts as drivable
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))
OBJECTIVES = ("miou", "f1", "f05", "f2", "iou_drivable")
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class SweepPoint:
    """Scores of the drivable class (mIoU: both classes) at one probability threshold, all in 0..1."""

    threshold: float
    miou: float
    iou_drivable: float
    precision: float
    recall: float
    f05: float
    f1: float
    f2: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels whose stated probability lies in [low, high): count, mean probability, and the share that is right."""

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Reliability of a model. `ece`: expected calibration error, mean of |confidence - accuracy| weighted by pixels."""

    ece: float
    bins: tuple[ReliabilityBin, ...]


def sweep(logits: Array, masks: Array, cut: Cut, thresholds: Sequence[float] = THRESHOLDS) -> tuple[SweepPoint, ...]:
    """Score each threshold, from exact pixel counts; logits and masks have the same shape. IGNORE is left out."""
    return points_of(count_pixels(logits, masks, cut, thresholds), thresholds)


def count_pixels(logits: Array, masks: Array, cut: Cut, thresholds: Sequence[float] = THRESHOLDS) -> Counts:
    """Count true and false positives, false and true negatives of each threshold: int64 (T, 4). IGNORE is left out."""
    flat, truth = labelled(logits, masks)
    positive, negative = np.sort(flat[truth]), np.sort(flat[~truth])
    edges = [cut(threshold) for threshold in thresholds]
    fn, tn = np.searchsorted(positive, edges), np.searchsorted(negative, edges)
    return np.stack([len(positive) - fn, len(negative) - tn, fn, tn], axis=-1).astype(np.int64)


def points_of(counts: Counts, thresholds: Sequence[float] = THRESHOLDS) -> tuple[SweepPoint, ...]:
    """Score thresholds by what `count_pixels` found."""
    points = []
    for threshold, (tp, fp, fn, tn) in zip(thresholds, counts.tolist(), strict=True):
        drivable = ratio(tp, tp + fp + fn)
        points.append(
            SweepPoint(
                threshold,
                (drivable + ratio(tn, tn + fp + fn)) / 2,
                drivable,
                ratio(tp, tp + fp),
                ratio(tp, tp + fn),
                f_beta(tp, fp, fn, 0.5),
                f_beta(tp, fp, fn, 1),
                f_beta(tp, fp, fn, 2),
            )
        )
    return tuple(points)


def labelled(values: Array, masks: Array) -> tuple[Array, Array]:
    """Take values and truth (drivable or not) of the pixels that somebody has labelled, both flat."""
    known = masks.reshape(-1) != IGNORE
    return values.reshape(-1)[known], masks.reshape(-1)[known] != 0


def best_threshold(points: Sequence[SweepPoint], objective: str) -> float:
    """Find the threshold with the highest `objective`; of several that are equal, the middle one.

    An int8 output has few steps, so neighbouring thresholds are often one and the same decision.
    """
    scores = np.array([getattr(point, objective) for point in points])
    equal = np.flatnonzero(scores == scores.max())
    return points[int(equal[len(equal) // 2])].threshold


def average_precision(logits: Array, masks: Array) -> float:
    """Compute average precision, the sum over falling distinct scores of (R_n - R_{n-1}) P_n, as scikit-learn does.

    1 where there is no drivable pixel. IGNORE is left out.
    """
    flat, truth = labelled(logits, masks)
    order = np.argsort(-flat, kind="stable")
    ranked, scores = truth[order], flat[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # the last pixel of each distinct score
    tp = np.cumsum(ranked)[last]
    if not len(tp) or not tp[-1]:
        return 1.0
    precision, recall = tp / (last + 1), tp / tp[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def calibration(confidence: Array, right: Array, bins: int = CALIBRATION_BINS) -> Calibration:
    """Compute reliability in bins of equal width over 0..1, and the ECE (C. Guo et al., ICML 2017).

    For two classes `confidence` is the stated probability of drivable and `right` whether the pixel is drivable; for
    more, the highest probability and whether that class is the true one. Empty bins are left out.
    """
    stated, true = confidence.reshape(-1).astype(np.float64), right.reshape(-1) != 0
    index = np.minimum((stated * bins).astype(np.int64), bins - 1)
    pixels = np.bincount(index, minlength=bins)
    sums, hits = np.bincount(index, stated, bins), np.bincount(index, true, bins)
    filled = [
        ReliabilityBin(i / bins, (i + 1) / bins, int(pixels[i]), float(sums[i] / pixels[i]), float(hits[i] / pixels[i]))
        for i in np.flatnonzero(pixels).tolist()
    ]
    gap = sum(one.pixels * abs(one.confidence - one.accuracy) for one in filled)
    return Calibration(ratio(gap, len(stated)) if len(stated) else 0.0, tuple(filled))


def probabilities(logits: Array) -> Array:
    """Compute the sigmoid of logits (N, H, W), or the softmax over the last axis of logits (N, H, W, C)."""
    values = logits.astype(np.float64)
    if values.ndim == 3:
        return 1.0 / (1.0 + np.exp(-np.clip(values, -60, 60)))
    shifted = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
