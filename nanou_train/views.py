"""The training part in many views, each answered by the teacher before training begins.

A teacher costs some twenty times its student, so asking it again for every batch takes most of a run. Here it answers
once per image and augmentation seed, and epochs draw from these views. A share of the views are two pictures blended
into one (Zhang et al. 2018, mixup, arXiv 1710.09412): no camera sees such a thing, but what the teacher says of it says
more about the teacher (Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codegen.model import Preprocessing
from nanou_train.augment import Float, Pixels, augment
from nanou_train.config import ExperimentConfig
from nanou_train.data import Split

if TYPE_CHECKING:
    import keras

BLENDS = (0.3, 0.7)  # how much of a blended view its first picture is


@dataclass(frozen=True, eq=False)
class Views:
    """V views of N images; the first is each image as it is.

    `images` uint8 (V, N, H, W, C); `masks` uint8 (V, N, H, W), where two pictures are blended the teacher's decision;
    `logits` float16 (V, N, H, W, K).
    """

    images: Pixels
    masks: Pixels
    logits: npt.NDArray[np.float16]

    def drawn(self, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> tuple[Pixels, Pixels, Float]:
        """One view of each chosen image, drawn at random: images, masks and logits (float32)."""
        view = rng.integers(0, len(self.images), len(chosen))
        return self.images[view, chosen], self.masks[view, chosen], self.logits[view, chosen].astype(np.float32)


def teacher_logits(teacher: keras.Model, images: Pixels) -> Float:
    """The mean of a teacher's logits for each image and for its mirror image, mirrored back: (N, H, W, K)."""
    contract = Preprocessing(*teacher.inputs[0].shape[1:])
    straight = teacher.predict(contract.normalize(images), batch_size=32, verbose=0)
    mirrored = teacher.predict(contract.normalize(images[:, :, ::-1]), batch_size=32, verbose=0)
    return np.asarray((straight + mirrored[:, :, ::-1]) / 2, np.float32)


def make_views(
    teacher: keras.Model,
    data: Split,
    config: ExperimentConfig,
    seed: int,
    report: Callable[[str], None] = lambda _message: None,
) -> Views:
    """`config.teacher_views` views, each from its own seed; a share `config.blend` of all but the first are blended."""
    views, shape = config.teacher_views, data.images.shape
    images, masks = np.empty((views, *shape), np.uint8), np.empty((views, *data.masks.shape), np.uint8)
    logits = np.empty((views, *data.masks.shape, teacher.outputs[0].shape[-1]), np.float16)
    for view in range(views):
        report(f"the teacher answers view {view + 1} of {views}")
        blended = np.zeros(len(data), bool)
        images[view], masks[view] = data.images, data.masks
        if view:
            rng = np.random.default_rng([seed, view])
            images[view], masks[view] = augment(data.images, data.masks, rng, config.augment)
            blended = rng.random(len(data)) < config.blend
            images[view, blended] = _blended(images[view], rng)[blended]
        logits[view] = teacher_logits(teacher, images[view])
        masks[view, blended] = _decided(logits[view, blended])
    return Views(images, masks, logits)


def _blended(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Each picture with another one."""
    share = rng.uniform(*BLENDS, (len(images), 1, 1, 1)).astype(np.float32)
    others = images[rng.permutation(len(images))]
    return np.asarray(share * images + (1 - share) * others + 0.5, np.uint8)


def _decided(logits: npt.NDArray[np.float16]) -> Pixels:
    return np.asarray(logits[..., 0] > 0 if logits.shape[-1] == 1 else logits.argmax(-1), np.uint8)
