"""Score predictors by sequence (drive, place), beside the constant mask: what a mean over a whole set hides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.evaluation.evaluate import majority_mask
from nanou_train.evaluation.metrics import image_confusions, metrics_of

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
    confusions = {
        name: image_confusions(part.masks, decided, len(classes))
        for name, decided in {CONSTANT_MASK: constant, **decisions}.items()
    }
    names, counts = np.unique(np.array(part.groups), return_counts=True)
    kept = sorted(sorted(range(len(names)), key=lambda at: -counts[at])[:MOST_SEQUENCES])
    rows = []
    for at in kept:
        chosen = np.array(part.groups) == names[at]
        miou = {
            name: round(metrics_of(found[chosen].sum(axis=0), classes)["miou"], 6) for name, found in confusions.items()
        }
        rows.append({"sequence": str(names[at]), "pictures": int(counts[at]), "miou": miou})
    return {"rows": rows, "left_out": len(names) - len(kept)}
