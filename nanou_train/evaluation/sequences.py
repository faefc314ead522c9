"""Score predictors by sequence (drive, place), beside the constant mask: what a mean over a whole set hides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.evaluation.evaluate import by_sequence, majority_mask
from nanou_train.evaluation.metrics import image_confusions

if TYPE_CHECKING:
    from nanou_train.data.dataset import Dataset

Masks = npt.NDArray[np.uint8]
MOST_SEQUENCES = 200
CONSTANT_MASK = "constant_mask"


def sequence_scores(dataset: Dataset, decisions: Mapping[str, Masks]) -> dict[str, Any]:
    """Compute the mIoU of each sequence of the test part: of `decisions` uint8 (N, H, W) by name, and a constant mask.

    JSON types only: `rows`, each with "sequence", "pictures" and "miou" by name, in the order of the names; and how
    many sequences were `left_out`, those of the fewest pictures, where there are more than MOST_SEQUENCES. Empty where
    the data set knows no sequences.
    """
    part, classes = dataset.test, dataset.classes
    if not part.groups:
        return {}
    constant = np.broadcast_to(majority_mask(dataset.train.masks, classes), part.masks.shape)
    pictures = Counter(part.groups)
    kept = sorted(sorted(pictures, key=lambda group: (-pictures[group], group))[:MOST_SEQUENCES])
    places = np.flatnonzero(np.isin(part.groups, kept))
    groups = [part.groups[place] for place in places]
    miou: dict[str, dict[str, float]] = {group: {} for group in kept}
    for name, decided in {CONSTANT_MASK: constant, **decisions}.items():
        confusions = image_confusions(part.masks, decided, len(classes))[places]
        for scores in by_sequence(confusions, groups, classes):
            miou[scores.group][name] = round(scores.metrics["miou"], 6)
    rows = [{"sequence": group, "pictures": pictures[group], "miou": miou[group]} for group in kept]
    return {"rows": rows, "left_out": len(pictures) - len(kept)}
