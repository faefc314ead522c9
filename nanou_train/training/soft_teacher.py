"""Let soft masks that any program has written be the teacher: its answers to the training pictures as they are."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from codegen.graph.model import Preprocessing
from codegen.untrusted import printable
from nanou_train.data.dataset import Dataset, Split
from nanou_train.data.soft_masks import find_soft_masks, logits_of, of_names, read_soft_mask, resized
from nanou_train.errors import ConfigError, DataError
from nanou_train.evaluation.metrics import segmentation_metrics
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.training.teacher_views import Views, decided

_LOG = logging.getLogger(__name__)


def soft_answers(config: ExperimentConfig, dataset: Dataset, contract: Preprocessing) -> Views | None:
    """Read the soft masks of all training pictures, brought to the contract's size; None without `teacher.soft_masks`.

    They are one view, whose logits move along with augmentation. Raises DataError for a picture without soft mask and
    for one that cannot be read, ConfigError where more views are asked for.
    """
    folder = config.teacher.soft_masks
    if folder is None or not config.distillation.enabled:
        return None
    if config.distillation.views > 1:
        raise ConfigError(
            f"teacher.soft_masks answer each picture once, and distillation.views is {config.distillation.views}",
            hint="set distillation.views: 1; soft masks move along with augmentation",
        )
    answers = answers_of(folder, dataset.train, len(dataset.classes), contract)
    miou = segmentation_metrics(dataset.train.masks, decided(answers.logits[0]), dataset.classes)["miou"]
    _LOG.info("%s: soft masks of %d pictures, %.1f %% mIoU on their masks", folder, len(dataset.train), 100 * miou)
    return answers


def answers_of(folder: Path, train: Split, class_count: int, contract: Preprocessing) -> Views:
    """Read the soft mask of each picture of a split, as one view. Raises DataError."""
    files = of_names(_by_stem(folder), train.stems, "training pictures")
    logits = []
    for stem in train.stems:
        shares = read_soft_mask(files[stem], class_count)
        small = resized(shares, contract.width_px, contract.height_px, contract.resize_filter)
        logits.append(logits_of(small / small.sum(axis=-1, keepdims=True)))
    answers = np.stack(logits)[None].astype(np.float16)
    digest = hashlib.sha256(train.sha256.encode())
    digest.update(answers.tobytes())
    return Views(train.images[None], train.masks[None], answers, digest.hexdigest()[:16])


def _by_stem(folder: Path) -> dict[str, Path]:
    """Soft masks by the name that their picture has in a data set: folders are part of it, as `prepare` has it."""
    found: dict[str, Path] = {}
    for name, path in find_soft_masks(folder).files.items():
        stem = name.replace("/", "_")
        if stem in found:
            raise DataError(f"{found[stem]} and {path} are both of {printable(stem, 60)}", hint="rename one")
        found[stem] = path
    return found
