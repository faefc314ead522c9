"""Let pictures without masks take part in training: a student learns what its teacher says of them.

A teacher that generalizes knows more about a new place than the masks of another one can say, and pictures cost
nothing (self-training: Xie et al. 2020, Noisy Student, arXiv 1911.04252). Pictures that look like those which measure
the student are left out, so that its figures stay those of pictures that it has not seen.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from codegen.graph.model import Preprocessing
from nanou_train.data.audit import Fingerprint, crosses, exact_duplicates, fingerprint, near_duplicates
from nanou_train.data.dataset import Dataset, Split
from nanou_train.data.images import IGNORE, Pixels, camera_pixels, read_picture
from nanou_train.data.pairs import find_pictures, skipped_in_words
from nanou_train.errors import ConfigError, DataError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.training.teacher_views import decided, teacher_logits

if TYPE_CHECKING:
    import keras

MOST_PICTURES = 20_000  # which views hold in memory
_OURS, _MEASURED = "unlabelled", "measured"
_LOG = logging.getLogger(__name__)


def read_unlabelled(config: ExperimentConfig, dataset: Dataset, contract: Preprocessing) -> Split | None:
    """Read the pictures of `data.unlabelled` and of folders in it; their masks are IGNORE. None without this key.

    Raises ConfigError without a teacher that can be asked, DataError for a folder without pictures, for one of more
    than MOST_PICTURES, for a picture that cannot be read, and where all of them look like those of validation or test.
    """
    folder = config.data.unlabelled
    if folder is None:
        return None
    if not config.distillation.enabled or config.teacher.soft_masks is not None:
        raise ConfigError(
            "data.unlabelled without a teacher: nothing says what is in pictures without masks",
            hint="train with distillation.enabled, and without soft masks",
        )
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint="data.unlabelled is a folder of pictures")
    found = find_pictures(folder, deep=True)
    if not 0 < len(found.files) <= MOST_PICTURES:
        raise DataError(
            f"{folder} has {len(found.files):,} pictures", hint=f"give a folder of 1 to {MOST_PICTURES:,} pictures"
        )
    if found.skipped:
        _LOG.warning("%s: %s", folder, skipped_in_words(found.skipped))
    stems = tuple(sorted(found.files))
    images = np.stack([camera_pixels(read_picture(found.files[stem]), contract) for stem in stems])
    kept = _unlike(images, dataset)
    if not len(kept):
        raise DataError(
            f"all pictures in {folder} look like validation or test pictures", hint="give pictures of another drive"
        )
    _LOG.info("%s: %d pictures without masks", folder, len(kept))
    if len(kept) < len(stems):
        out = len(stems) - len(kept)
        _LOG.warning("%s: %d left out that look like validation or test pictures", folder, out)
    masks = np.full(images.shape[:3], IGNORE, np.uint8)[kept]
    return Split(images[kept], masks, tuple(f"unlabelled/{stems[index]}" for index in kept))


def _unlike(images: Pixels, dataset: Dataset) -> list[int]:
    """Positions of the pictures that are no duplicates or near-duplicates of what measures a student."""

    def prints(name: str, pictures: Pixels) -> list[Fingerprint]:
        coloured = np.repeat(pictures, 3 // pictures.shape[-1], axis=-1)
        return [fingerprint(name, str(index), one) for index, one in enumerate(coloured)]

    measured = np.concatenate([dataset.val.images, dataset.test.images])
    every = [*prints(_MEASURED, measured), *prints(_OURS, images)]
    pairs = [*exact_duplicates(every), *near_duplicates(every)]
    alike = {label for pair in pairs if crosses(pair) for label in (pair.first, pair.second)}
    return [index for index in range(len(images)) if f"{_OURS}/{index}" not in alike]


def with_answers(train: Split, unlabelled: Split, teacher: keras.Model) -> Split:
    """Append pictures to a training part, their masks the teacher's decisions."""
    return train.joined(replace(unlabelled, masks=decided(teacher_logits(teacher, unlabelled.images))))
