"""Choose an int8 model's decision threshold for another place, by a handful of labelled pictures from there.

Where light, season or ground are new, a network often still ranks pixels well while its probabilities are off: then a
few pictures give back much of what was lost. A threshold fits the pictures that chose it better than any others, so
it is also scored on pictures that had no part in the choice, a block of neighbours at a time, and taken only if it
gains more there than what chance would. What that rule is worth: `python -m tests.train.threshold_draws`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from codegen.graph.model import QuantizedModel
from nanou_train.data.images import IGNORE, Pixels
from nanou_train.data.pairs import FileCount
from nanou_train.data.sources import AnnotationFiles, MaskFolders, find_sources
from nanou_train.errors import DataError
from nanou_train.evaluation.curves import THRESHOLDS, best_threshold, count_pixels, points_of
from nanou_train.evaluation.evaluate import Predictor
from nanou_train.runs.threshold import check_threshold

LEAST_PICTURES = 5  # from fewer, thresholds come out worse than none: docs/EVALUATION.md
_BLOCKS = 10
Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures at a model's size, uint8 (N, H, W, C), in the order of their names, and which pixels are drivable.

    `masks` is uint8 (N, H, W) of 0, 1 and IGNORE.
    """

    images: Pixels
    masks: Pixels
    files: FileCount


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The model with the threshold that was found, and its scores by `objective`, 0..1.

    `score_before` and `score` are of all pictures with the old and the new threshold. `score_held_out`: each block of
    neighbouring pictures with the threshold that the others choose. `gain_error`: the standard error of what it is
    above `score_before`, by the jackknife over blocks (Efron and Tibshirani, An Introduction to the Bootstrap, 11.5).
    """

    model: QuantizedModel
    pictures: int
    objective: str
    threshold_before: float
    score_before: float
    score: float
    score_held_out: float
    gain_error: float

    @property
    def gain(self) -> float:
        """What another threshold gains on pictures that did not choose it."""
        return self.score_held_out - self.score_before

    @property
    def is_certain(self) -> bool:
        """Whether it gains more than a standard error, and so is to be taken."""
        return self.gain > self.gain_error


def read_pictures(
    source: MaskFolders | AnnotationFiles, model: QuantizedModel, progress: Progress | None = None
) -> LabelledPictures:
    """Read pairs as `prepare` does, at the size of the model's picture. Raises DataError, and for fewer than 5."""
    files = FileCount()
    sources = find_sources(source, files)
    if len(sources.readers) < LEAST_PICTURES:
        raise DataError(
            f"{len(sources.readers)} labelled pictures are too few to choose a threshold by",
            hint=f"take {LEAST_PICTURES} at least, better 20, of different spots",
        )
    drivable = [sources.classes.index(name) for name in sources.drivable]
    images, masks = [], []
    for number, (name, read) in enumerate(sorted(sources.readers.items()), 1):
        pixels, classes = read().resized(model.image, len(sources.classes))
        images.append(pixels)
        masks.append(np.where(classes == IGNORE, IGNORE, np.isin(classes, drivable)).astype(np.uint8))
        if progress:
            progress(name, number / len(sources.readers))
    return LabelledPictures(np.stack(images), np.stack(masks), files)


def calibrate(
    model: QuantizedModel, predictor: Predictor, pictures: LabelledPictures, objective: str = "miou"
) -> Calibrated:
    """Find the threshold with the best `objective` (curves.OBJECTIVES) of the int8 model, which `predictor` runs.

    Raises TrainError for an unknown objective, and for a model that decides by no threshold; DataError for masks of
    one kind of ground alone.
    """
    check_threshold(model, objective)
    labelled = pictures.masks[pictures.masks != IGNORE]
    if not len(labelled) or labelled.min() == labelled.max():
        raise DataError(
            "all that is labelled is of one kind" if len(labelled) else "nothing is labelled",
            hint="take pictures that show both, ground to drive on and what is not",
        )
    logits, thresholds = predictor.logits(pictures.images), (*THRESHOLDS, model.threshold)
    counts = np.stack(
        [count_pixels(one, mask, predictor.cut, thresholds) for one, mask in zip(logits, pictures.masks, strict=True)]
    )
    total = counts.sum(axis=0)
    scores = {point.threshold: getattr(point, objective) for point in points_of(total, thresholds)}
    chosen = _choose(total, objective)
    return Calibrated(
        _restated(model, chosen, len(counts), objective),
        len(counts),
        objective,
        model.threshold,
        scores[model.threshold],
        scores[chosen],
        *_held_out(counts, objective),
    )


def _choose(counts: npt.NDArray[np.int64], objective: str) -> float:
    """Choose among THRESHOLDS; what follows them in `counts` is left out."""
    return best_threshold(points_of(counts[: len(THRESHOLDS)]), objective)


def _held_out(counts: npt.NDArray[np.int64], objective: str) -> tuple[float, float]:
    """Score blocks of neighbours by the threshold that all others choose; its gain's standard error.

    `counts` is int64 (N, T, 4), the threshold of now the last of T.
    """
    blocks = np.array_split(np.arange(len(counts)), min(_BLOCKS, len(counts)))
    chosen = [THRESHOLDS.index(_choose(np.delete(counts, block, axis=0).sum(axis=0), objective)) for block in blocks]
    new = np.stack([counts[block, at].sum(axis=0) for block, at in zip(blocks, chosen, strict=True)])
    old = np.stack([counts[block, -1].sum(axis=0) for block in blocks])
    scores = _scores(np.stack([new.sum(axis=0), *(new.sum(axis=0) - new)]), objective)
    gains = scores - _scores(np.stack([old.sum(axis=0), *(old.sum(axis=0) - old)]), objective)
    left_out, count = gains[1:], len(blocks)
    return float(scores[0]), float(np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2)))


def _scores(counts: npt.NDArray[np.int64], objective: str) -> npt.NDArray[np.float64]:
    """Score rows of counts, int64 (N, 4)."""
    return np.array([getattr(point, objective) for point in points_of(counts, [0.0] * len(counts))])


def _restated(model: QuantizedModel, threshold: float, pictures: int, objective: str) -> QuantizedModel:
    said = f"best {objective} of the int8 model on {pictures} pictures, before {model.threshold:g}"
    return replace(model.deciding(threshold=threshold), provenance={**model.provenance, "threshold": said})
