"""Segmentation metrics, each computed from pixel counts summed over the whole set (not averaged per image).

With TP, FP, FN, TN for the drivable class: IoU drivable = TP / (TP + FP + FN), IoU background = TN / (TN + FP + FN),
mIoU = their mean, precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = Dice = 2 TP / (2 TP + FP + FN).
A ratio of nothing to nothing (a class absent from truth and prediction) is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from codegen.model import Preprocessing

Array = npt.NDArray[Any]
Metrics = dict[str, float]


def segmentation_metrics(masks: Array, predictions: Array) -> Metrics:
    """Metrics of predictions against masks; both (N, H, W) or (N, H, W, 1), non-zero = drivable.

    Raises ValueError where the two do not have the same number of pixels.
    """
    if masks.size != predictions.size:
        raise ValueError(f"{masks.shape} masks, {predictions.shape} predictions")
    truth, predicted = masks.reshape(-1) != 0, predictions.reshape(-1) != 0
    tp, fp = int((truth & predicted).sum()), int((~truth & predicted).sum())
    fn = int(truth.sum()) - tp
    tn = truth.size - tp - fp - fn

    def ratio(part: int, whole: int) -> float:
        return part / whole if whole else 1.0

    drivable, background = ratio(tp, tp + fp + fn), ratio(tn, tn + fp + fn)
    f1 = ratio(2 * tp, 2 * tp + fp + fn)
    return {
        "miou": (drivable + background) / 2,
        "iou_drivable": drivable,
        "iou_background": background,
        "f1": f1,
        "dice": f1,
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
    }


def constant_mask(train_masks: Array, test_masks: Array) -> Metrics:
    """Metrics of the baseline that looks at no image: for each pixel the majority of the training masks."""
    majority = train_masks.mean(axis=0) >= 0.5
    return segmentation_metrics(test_masks, np.broadcast_to(majority, test_masks.shape))


def evaluate_outputs(outputs: npt.NDArray[np.int8], masks: Array, threshold_q: int) -> Metrics:
    """Metrics of int8 model outputs (N, H, W[, 1]): drivable where the output is at least `threshold_q`."""
    return segmentation_metrics(masks, outputs.astype(np.int16) >= threshold_q)


def predict_logits(model: Any, images: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Logits float32 (N, H, W) of a Keras model for uint8 images (N, H, W, 3) of the model's size."""
    logits = model.predict(preprocessing.normalize(images), batch_size=50, verbose=0)
    return np.asarray(logits[..., 0], np.float32)


def decide(
    model: Any, images: npt.NDArray[np.uint8], preprocessing: Preprocessing, threshold: float
) -> npt.NDArray[np.uint8]:
    """uint8 (N, H, W) of 0 and 1: where a Keras model that gives logits sees at least probability `threshold`."""
    logits = predict_logits(model, images, preprocessing)
    drivable: npt.NDArray[np.bool_] = logits >= np.log(threshold / (1 - threshold))
    return drivable.astype(np.uint8)


def evaluate_model(
    model: Any, images: npt.NDArray[np.uint8], masks: Array, preprocessing: Preprocessing, *, threshold: float = 0.5
) -> Metrics:
    """Metrics of a Keras model that gives logits; `threshold` is a probability."""
    return segmentation_metrics(masks, decide(model, images, preprocessing, threshold))
