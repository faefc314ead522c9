"""Augment the training part into many views, and ask the teacher about each before training begins.

A teacher costs some twenty times its student, so asking it again for every batch takes most of a run. Here it answers
once per image and augmentation seed, and epochs draw from these views. A share of the views are two pictures blended
into one (Zhang et al. 2018, mixup, arXiv 1710.09412): no camera sees such a thing, but what the teacher says of it says
more about the teacher (Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.atomic_files import replacing
from codegen.graph.model import Preprocessing
from nanou_train.data.appearance import change_appearance
from nanou_train.data.augment import Float, Pixels, augment
from nanou_train.data.dataset import Split
from nanou_train.data.images import IGNORE
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.networks.inference import infer
from nanou_train.runs import run_folder as run

if TYPE_CHECKING:
    import keras

BLENDS = (0.3, 0.7)  # how much of a blended view its first picture is
SEED = 0
RESIZE_BATCH = 64
CACHE = ".teacher"  # the folder of kept answers, beside the run folders


@dataclass(frozen=True, eq=False)
class Views:
    """Images, masks and teacher's logits of V views of N images; the first view is each image as it is.

    `images` uint8 (V, N, H, W, C); `masks` uint8 (V, N, H, W), where two pictures are blended the teacher's decision,
    and IGNORE where either is; `logits` float16 (V, N, H, W, K). `identity` is a hash of what they follow from.
    """

    images: Pixels
    masks: Pixels
    logits: npt.NDArray[np.float16]
    identity: str = ""

    def drawn(self, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> tuple[Pixels, Pixels, Float]:
        """Draw one view of each chosen image at random: images, masks and logits (float32)."""
        view = rng.integers(0, len(self.images), len(chosen))
        return self.images[view, chosen], self.masks[view, chosen], self.logits[view, chosen].astype(np.float32)


def teacher_logits(teacher: keras.Model, images: Pixels) -> Float:
    """Average a teacher's logits for each image and for its mirror image, mirrored back: (N, H, W, K).

    A teacher of another size sees the images brought to its own, and its logits are brought back (bilinear).
    """
    contract, size = Preprocessing(*teacher.inputs[0].shape[1:]), images.shape[1:3]
    if size != (contract.height_px, contract.width_px):
        seen = np.rint(_resized(images, (contract.height_px, contract.width_px))).astype(np.uint8)
        return _resized(teacher_logits(teacher, seen), size)
    straight = infer(teacher, contract.normalize(images), 32)
    mirrored = infer(teacher, contract.normalize(images[:, :, ::-1]), 32)
    return np.asarray((straight + mirrored[:, :, ::-1]) / 2, np.float32)


def _resized(values: npt.NDArray[Any], size: tuple[int, int]) -> Float:
    """Resize (N, H, W, K) of any kind of number to another size (height, width), as float32, without aliasing."""
    import tensorflow as tf

    parts = [
        np.asarray(tf.image.resize(values[start : start + RESIZE_BATCH], size, antialias=True), np.float32)
        for start in range(0, len(values), RESIZE_BATCH)
    ]
    return np.concatenate(parts)


def make_views(
    teacher: keras.Model,
    data: Split,
    config: ExperimentConfig,
    report: Callable[[str], None] = lambda _message: None,
    *,
    cache: Path | None = None,
) -> Views:
    """Make the views that `config.distillation` asks for, a share `blend` of all but the first blended.

    They do not depend on a run's seed, so that runs with the same teacher and data can share its answers: these are
    kept in the folder `cache`, which may be deleted at any time, and taken from there.
    """
    made = list(_views_of(data, config))
    images, blended = np.stack([view for view, _, _ in made]), np.stack([mixed for _, _, mixed in made])
    masks = np.stack([mask for _, mask, _ in made])
    identity = _identity(teacher, data, config)
    kept = None if cache is None else cache / f"{identity}.npy"
    if kept is not None and kept.is_file():
        logits = _kept(kept)
    else:
        logits = np.empty((*masks.shape, teacher.outputs[0].shape[-1]), np.float16)
        for view in range(len(images)):
            report(f"the teacher answers view {view + 1} of {len(images)}")
            logits[view] = teacher_logits(teacher, images[view])
        if kept is not None:
            _keep(logits, kept)
            logits = _kept(kept)
    masks[blended] = np.where(masks[blended] == IGNORE, IGNORE, decided(logits[blended]))
    return Views(images, masks, logits, identity)


def _views_of(data: Split, config: ExperimentConfig) -> Iterator[tuple[Pixels, Pixels, npt.NDArray[np.bool_]]]:
    """Augment and blend: images and masks of each view, and which images of it are blended."""
    yield data.images, data.masks, np.zeros(len(data), bool)
    for view in range(1, config.distillation.views):
        rng = np.random.default_rng([SEED, view])
        images, masks = augment(data.images, data.masks, rng, config.data.augment)
        images = change_appearance(images, rng, config.data.appearance)
        blended = rng.random(len(data)) < config.distillation.blend
        mixed, others = _blended(images, rng)
        unknown = blended[:, None, None] & (masks[others] == IGNORE)  # in either of the two pictures
        yield np.where(blended[:, None, None, None], mixed, images), np.where(unknown, IGNORE, masks), blended


def _identity(teacher: keras.Model, data: Split, config: ExperimentConfig) -> str:
    how = config.distillation
    changes = [config.data.augment, config.data.appearance]
    facts = [run.weights_sha256(teacher), data.sha256, how.views, how.blend, *changes, SEED]
    return hashlib.sha256(json.dumps([*facts, run.versions()]).encode()).hexdigest()[:16]


def _keep(logits: npt.NDArray[np.float16], path: Path) -> None:
    """Other processes may do the same at the same time."""
    with replacing(path) as partial:
        np.save(partial, logits)


def _kept(path: Path) -> npt.NDArray[np.float16]:
    """Map kept logits, so that the processes of one computer share them in memory."""
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _blended(images: Pixels, rng: np.random.Generator) -> tuple[Pixels, npt.NDArray[np.intp]]:
    """Blend each picture with another one; also returns which."""
    share = rng.uniform(*BLENDS, (len(images), 1, 1, 1)).astype(np.float32)
    others = rng.permutation(len(images))
    return np.asarray(share * images + (1 - share) * images[others] + 0.5, np.uint8), others


def decided(logits: npt.NDArray[np.floating[Any]]) -> Pixels:
    """Decide the class of each pixel by logits (N, H, W, K): uint8 (N, H, W)."""
    return np.asarray(logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(-1), np.uint8)
