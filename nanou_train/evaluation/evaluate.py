"""Evaluate a predictor on a split: one code path, whether Keras, an interpreter or compiled C gave the logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.graph.contract import decision_threshold, quantize_pixels
from codegen.graph.model import QuantizedModel, logit
from codegen.tflite.load import load_graph
from nanou_train.data.images import IGNORE
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.evaluation.curves import (
    Calibration,
    Cut,
    SweepPoint,
    average_precision,
    calibration,
    probabilities,
    sweep,
)
from nanou_train.evaluation.metrics import (
    ClassScores,
    Metrics,
    boundary_f,
    class_scores,
    image_confusions,
    metrics_of,
    segmentation_metrics,
)
from nanou_train.networks.inference import infer

if TYPE_CHECKING:
    from codegen.graph.model import Preprocessing
    from nanou_train.data.dataset import Split

__all__ = ["Metrics", "segmentation_metrics"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Int8Array = npt.NDArray[np.int8]
BATCH_SIZE = 50
WORST_COUNT = 8


@dataclass(frozen=True)
class Predictor:
    """Something that maps uint8 images (N, H, W, C) to logits: (N, H, W), or (N, H, W, classes) for more than two.

    `cut` gives the logit from which on a pixel counts as drivable, for a probability. `step` is the logit of one
    step of an int8 output, 0 where steps are not equal or the output is floating point.
    """

    name: str
    logits: Callable[[Pixels], Array]
    cut: Cut
    is_int8: bool = False
    step: float = 0.0

    def decide(self, logits: Array, threshold: float) -> Pixels:
        """Decide class indices uint8 (N, H, W) by logits."""
        chosen = np.argmax(logits, axis=-1) if logits.ndim == 4 else logits >= self.cut(threshold)
        return chosen.astype(np.uint8)


@dataclass(frozen=True)
class ImageScore:
    """mIoU of one image, whose sequence is empty where none is known."""

    stem: str
    group: str
    miou: float


@dataclass(frozen=True)
class SequenceScores:
    """Metrics over the pixels of one sequence."""

    group: str
    images: int
    metrics: Metrics


@dataclass(frozen=True)
class Evaluation:
    """All scores of one predictor on one split.

    `confusion` is pixels by true class (row) and predicted class (column). `worst` starts with the image of the lowest
    mIoU. `sequence_spread` is mean, standard deviation and minimum of the sequences' mIoU. `sweep` and
    `average_precision` exist for two classes only.
    """

    executor: str
    threshold: float
    metrics: Metrics
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration
    sequences: tuple[SequenceScores, ...]
    sequence_spread: Mapping[str, float]
    worst: tuple[ImageScore, ...]
    sweep: tuple[SweepPoint, ...] = ()
    average_precision: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Differences of two predictors on the same images. Logits are real values; `..._steps` count int8 output steps.

    `differing_outputs` counts unequal int8 outputs, `differing_images` the images that have such; None unless both are
    int8.
    """

    first: str
    second: str
    pixels: int
    differing_pixels: int
    max_logit_difference: float
    mean_logit_difference: float
    max_difference_steps: float | None
    mean_difference_steps: float | None
    differing_outputs: int | None
    differing_images: int | None
    first_miou: float
    second_miou: float


def evaluate_logits(
    predictor: Predictor, logits: Array, split: Split, classes: Sequence[str], *, threshold: float
) -> Evaluation:
    """Score `logits`, which `predictor` gave for `split.images`, in every way."""
    decided = predictor.decide(logits, threshold)
    confusions = image_confusions(split.masks, decided, len(classes))
    confusion = confusions.sum(axis=0)
    stated = probabilities(logits)
    sequences = by_sequence(confusions, split.groups, classes)
    binary = logits.ndim == 3
    right = split.masks != 0 if binary else np.argmax(stated, axis=-1) == split.masks
    known = split.masks != IGNORE
    return Evaluation(
        predictor.name,
        threshold,
        metrics_of(confusion, classes),
        class_scores(confusion, classes, boundary_f(split.masks, decided, len(classes))),
        tuple(tuple(row) for row in confusion.tolist()),
        calibration((stated if binary else stated.max(axis=-1))[known], right[known]),
        sequences,
        _spread(sequences),
        _worst(confusions, split, classes),
        sweep(logits, split.masks, predictor.cut) if binary else (),
        average_precision(logits, split.masks) if binary else None,
    )


def by_sequence(confusions: Array, groups: Sequence[str], classes: Sequence[str]) -> tuple[SequenceScores, ...]:
    """Score each sequence, the first seen first, by its images' confusions int64 (N, C, C)."""
    names = np.array(groups)
    found = []
    for group in dict.fromkeys(groups):
        chosen = confusions[names == group]
        found.append(SequenceScores(group, len(chosen), metrics_of(chosen.sum(axis=0), classes)))
    return tuple(found)


def _spread(sequences: Sequence[SequenceScores]) -> dict[str, float]:
    mious = [sequence.metrics["miou"] for sequence in sequences]
    if not mious:
        return {}
    return {"mean_miou": float(np.mean(mious)), "std_miou": float(np.std(mious)), "min_miou": min(mious)}


def _worst(confusions: Array, split: Split, classes: Sequence[str]) -> tuple[ImageScore, ...]:
    scores = [metrics_of(confusion, classes)["miou"] for confusion in confusions]
    order = np.argsort(scores, kind="stable")[:WORST_COUNT]
    return tuple(
        ImageScore(split.stems[index], split.groups[index] if split.groups else "", scores[index])
        for index in order.tolist()
    )


def compare(
    first: Predictor,
    second: Predictor,
    logits: tuple[Array, Array],
    masks: Array,
    classes: Sequence[str],
    threshold: float,
) -> Comparison:
    """Compare two predictors by their logits for the same images."""
    decided = first.decide(logits[0], threshold), second.decide(logits[1], threshold)
    difference = np.abs(logits[0].astype(np.float64) - logits[1])
    largest, mean = float(difference.max(initial=0.0)), float(difference.mean())
    step, are_int8 = first.step or second.step, first.is_int8 and second.is_int8
    mious = [segmentation_metrics(masks, one, classes)["miou"] for one in decided]
    return Comparison(
        first.name,
        second.name,
        int(masks.size),
        int(np.count_nonzero(decided[0] != decided[1])),
        largest,
        mean,
        largest / step if step else None,
        mean / step if step else None,
        int(np.count_nonzero(difference)) if are_int8 else None,
        int(np.count_nonzero(difference.reshape(len(difference), -1).any(axis=1))) if are_int8 else None,
        *mious,
    )


# ---- Predictors ------------------------------------------------------------------------------------------------


def keras_predictor(model: Any, preprocessing: Preprocessing) -> Predictor:
    """Make a predictor of a Keras model that gives logits."""
    return Predictor("keras", lambda images: predict_logits(model, images, preprocessing), logit)


def int8_predictor(name: str, model: QuantizedModel, run: Callable[[Int8Array], Int8Array]) -> Predictor:
    """Make a predictor of an int8 model and what runs it: input frames int8 (N, H, W, C) to outputs int8 (N, H, W, K).

    Its cut lies half a step below the int8 constant of the firmware, so that both decide every pixel alike.
    """
    graph = load_graph(model.flatbuffer)
    sink, is_probability = graph.output, model.decision.values == "probabilities"

    def real(outputs: Array) -> Array:
        values = sink.scale * (outputs.astype(np.float64) - sink.zero_point)
        if not is_probability:
            return values
        inside = np.clip(values, sink.scale / 2, 1 - sink.scale / 4)
        return np.asarray(np.log(inside if sink.shape[-1] > 1 else inside / (1 - inside)))

    def logits(images: Pixels) -> Array:
        outputs = run(quantize_pixels(model, graph, images)).reshape(len(images), *sink.shape[1:])
        return real(squeezed(outputs))

    def cut(threshold: float) -> float:
        return float(real(np.array(decision_threshold(model.deciding(threshold=threshold), graph) - 0.5)))

    return Predictor(name, logits, cut, True, 0.0 if is_probability else sink.scale)


# ---- Shorter ways ----------------------------------------------------------------------------------------------


def constant_mask(train_masks: Array, test_masks: Array, classes: Sequence[str] = BINARY_CLASSES) -> Metrics:
    """Score the baseline that looks at no image: `majority_mask` of the training masks."""
    majority = majority_mask(train_masks, classes)
    return segmentation_metrics(test_masks, np.broadcast_to(majority, test_masks.shape), classes)


def majority_mask(masks: Array, classes: Sequence[str] = BINARY_CLASSES) -> Pixels:
    """Find for each pixel the class that most of the masks (N, H, W) that label it have: uint8 (H, W)."""
    if len(classes) == 2:
        majority = 2 * (masks == 1).sum(axis=0) >= (masks != IGNORE).sum(axis=0)
    else:
        majority = np.argmax(np.stack([(masks == i).sum(axis=0) for i in range(len(classes))]), axis=0)
    return np.asarray(majority, np.uint8)


def squeezed(outputs: Array) -> Array:
    """Drop the last axis of outputs (N, H, W, 1); leave (N, H, W, classes) as they are."""
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs


def predict_logits(model: Any, images: Pixels, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Run a Keras model on uint8 images (N, H, W, C): logits float32 (N, H, W), or (N, H, W, classes)."""
    return squeezed(infer(model, preprocessing.normalize(images), BATCH_SIZE))


def decide(model: Any, images: Pixels, preprocessing: Preprocessing, threshold: float) -> Pixels:
    """Decide class indices uint8 (N, H, W) by a Keras model; of two classes, 1 where it sees at least `threshold`."""
    predictor = keras_predictor(model, preprocessing)
    return predictor.decide(predictor.logits(images), threshold)


def evaluate_model(
    model: Any,
    images: Pixels,
    masks: Array,
    preprocessing: Preprocessing,
    *,
    threshold: float = 0.5,
    classes: Sequence[str] = BINARY_CLASSES,
) -> Metrics:
    """Score a Keras model that gives logits; `threshold` is a probability."""
    return segmentation_metrics(masks, decide(model, images, preprocessing, threshold), classes)
