"""Compute segmentation metrics. All but the boundary score come from pixel counts over the whole set, not per image.

With TP, FP, FN, TN for one class: IoU = TP / (TP + FP + FN) (Jaccard index), Dice = F1 = 2 TP / (2 TP + FP + FN),
precision P = TP / (TP + FP), recall R = TP / (TP + FN), F_b = (1 + b^2) P R / (b^2 P + R)
(C. J. van Rijsbergen, Information Retrieval, 1979), mIoU = mean IoU of the classes. A ratio of nothing to nothing (a
class absent from truth and prediction) is 1. docs/EVALUATION.md defines each with its source. Pixels whose
mask is IGNORE count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanou_train.data.images import IGNORE
from nanou_train.data.labels import BINARY_CLASSES

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Metrics = dict[str, float]
BOUNDARY_TOLERANCE = 0.0075  # of the image diagonal, as Csurka et al. (BMVC 2013) use


@dataclass(frozen=True)
class ClassScores:
    """One class: its share of the true pixels, and its scores in 0..1. `boundary_f` is None where it has no edge."""

    name: str
    share: float
    iou: float
    dice: float
    precision: float
    recall: float
    f05: float
    f2: float
    boundary_f: float | None


def confusion_matrix(truth: Array, predicted: Array, class_count: int) -> Counts:
    """Count pixels by true class (row) and predicted class (column): int64 (C, C). ValueError for unequal sizes."""
    matrix: Counts = image_confusions(truth.reshape(1, -1), predicted.reshape(1, -1), class_count)[0]
    return matrix


def image_confusions(truth: Array, predicted: Array, class_count: int) -> Counts:
    """Compute a confusion matrix for each of N images, int64 (N, C, C); both arrays are (N, ...) of class indices.

    Where the truth is IGNORE, nothing is counted.
    """
    if truth.size != predicted.size:
        raise ValueError(f"{truth.shape} masks, {predicted.shape} predictions")
    count, cells = len(truth), class_count * class_count
    labelled = truth.reshape(count, -1) != IGNORE
    pairs = truth.reshape(count, -1).astype(np.int64) * class_count + predicted.reshape(count, -1)
    pairs += cells * np.arange(count)[:, None]
    counted = np.bincount(pairs[labelled], minlength=count * cells)
    matrices: Counts = counted.reshape(count, class_count, class_count)
    return matrices


def ratio(part: float, whole: float) -> float:
    """Divide part by whole; 1 for nothing of nothing."""
    return part / whole if whole else 1.0


def f_beta(tp: float, fp: float, fn: float, beta: float) -> float:
    """Compute F_b from counts: (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)."""
    weighted = (1 + beta * beta) * tp
    return ratio(weighted, weighted + beta * beta * fn + fp)


def class_counts(confusion: Counts, index: int) -> tuple[int, int, int]:
    """Count TP, FP and FN of one class."""
    tp = int(confusion[index, index])
    return tp, int(confusion[:, index].sum()) - tp, int(confusion[index].sum()) - tp


def class_scores(
    confusion: Counts, classes: Sequence[str], boundary: Sequence[float | None]
) -> tuple[ClassScores, ...]:
    """Score every class; `boundary` as `boundary_f` gives it."""
    total, found = int(confusion.sum()), []
    for index, name in enumerate(classes):
        tp, fp, fn = class_counts(confusion, index)
        found.append(
            ClassScores(
                name,
                ratio(tp + fn, total),
                ratio(tp, tp + fp + fn),
                f_beta(tp, fp, fn, 1),
                ratio(tp, tp + fp),
                ratio(tp, tp + fn),
                f_beta(tp, fp, fn, 0.5),
                f_beta(tp, fp, fn, 2),
                boundary[index],
            )
        )
    return tuple(found)


def metrics_of(confusion: Counts, classes: Sequence[str] = BINARY_CLASSES) -> Metrics:
    """Summarize one predictor in figures.

    With two classes the second is the drivable one, whatever its name: `iou_drivable`, `iou_background`, and F-scores,
    precision and recall of the drivable class. With more, `iou_NAME` of each, and the others are means over classes.
    """
    scores = class_scores(confusion, classes, [None] * len(classes))
    names = ("background", "drivable") if len(classes) == 2 else classes
    meant = scores[1:] if len(classes) == 2 else scores

    def mean(of: str) -> float:
        return float(np.mean([getattr(score, of) for score in meant]))

    return {
        "miou": float(np.mean([score.iou for score in scores])),
        **{f"iou_{name}": score.iou for name, score in zip(names, scores, strict=True)},
        "f1": mean("dice"),
        "dice": mean("dice"),
        "f05": mean("f05"),
        "f2": mean("f2"),
        "precision": mean("precision"),
        "recall": mean("recall"),
        "accuracy": ratio(int(np.trace(confusion)), int(confusion.sum())),
    }


def segmentation_metrics(masks: Array, predictions: Array, classes: Sequence[str] = BINARY_CLASSES) -> Metrics:
    """Score predictions against masks, both (N, H, W) or (N, H, W, 1) class indices, as `metrics_of`.

    With two classes, any non-zero value but IGNORE is drivable. Raises ValueError where the two differ in pixels.
    """
    if len(classes) == 2:
        masks, predictions = np.where(masks == IGNORE, IGNORE, masks != 0), predictions != 0
    return metrics_of(confusion_matrix(masks, predictions, len(classes)), classes)


# ---- Boundaries ------------------------------------------------------------------------------------------------


def boundary_f(truth: Array, predicted: Array, class_count: int) -> tuple[float | None, ...]:
    """Compute the boundary F-score of each class: mean over images in which truth or prediction has an edge of it.

    A boundary pixel is one of the class with a 4-neighbour of another. Precision is the share of predicted boundary
    pixels within a tolerance of a true one, recall the reverse, F their harmonic mean; the tolerance is 0.75 % of the
    image diagonal and at least one pixel (G. Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013). Both arrays are (N, H, W). None for a class without any edge. Pixels that are ignored,
    and those beside them, are no boundary.
    """
    _, height, width = truth.shape
    tolerance_px = max(1.0, BOUNDARY_TOLERANCE * float(np.hypot(height, width)))
    scores: list[float | None] = []
    unknown = _dilate(truth == IGNORE, 1.0) if (truth == IGNORE).any() else np.zeros_like(truth, np.bool_)
    for index in range(class_count):
        ours, theirs = _boundary(predicted == index) & ~unknown, _boundary(truth == index) & ~unknown
        precision = _share_inside(ours, _dilate(theirs, tolerance_px))
        recall = _share_inside(theirs, _dilate(ours, tolerance_px))
        seen = ours.any(axis=(1, 2)) | theirs.any(axis=(1, 2))
        both = precision + recall
        f_scores = np.where(both > 0, 2 * precision * recall / np.maximum(both, 1e-12), 0.0)[seen]
        scores.append(float(f_scores.mean()) if len(f_scores) else None)
    return tuple(scores)


def _boundary(inside: Array) -> Array:
    """Pixels that have a 4-neighbour outside; the image's edge is no neighbour."""
    padded = np.pad(inside, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    edge: Array = inside & ~around
    return edge


def _dilate(pixels: Array, radius_px: float) -> Array:
    """Everything within a Euclidean distance."""
    reach = int(radius_px)
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach)))
    _, height, width = pixels.shape
    grown = np.zeros_like(pixels)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= radius_px * radius_px:
                grown |= padded[:, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return grown


def _share_inside(pixels: Array, region: Array) -> Array:
    """For each image the share of `pixels` that lie in `region`; 0 where there are none."""
    count = pixels.sum(axis=(1, 2))
    share: Array = (pixels & region).sum(axis=(1, 2)) / np.maximum(count, 1)
    return share
