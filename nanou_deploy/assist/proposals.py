"""Propose masks for pictures: by a model, or by the soft masks of any program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.graph.model import Preprocessing
from nanou_train.data.images import IGNORE, Picture, Pixels, camera_pixels, read_picture
from nanou_train.data.soft_masks import Shares, of_names, read_soft_mask, resized
from nanou_train.errors import DataError
from nanou_train.evaluation.curves import probabilities
from nanou_train.evaluation.evaluate import Predictor

_BATCH = 16
Propose = Callable[[list[tuple[str, Picture]]], list[Shares]]


@dataclass(frozen=True, eq=False)
class Proposal:
    """What is proposed for a picture, by its path without suffix below the pictures' folder.

    `shares` are float32 (h, w, classes) at the size at which they were said; `classes` class indices uint8 (H, W) at
    the picture's own, IGNORE where no class is probable enough.
    """

    name: str
    picture: Picture
    shares: Shares
    classes: Pixels

    @property
    def uncertain_share(self) -> float:
        return float(np.mean(self.classes == IGNORE))


@dataclass(frozen=True)
class Deciding:
    """How shares become classes: of two, the second from `threshold` on, else the greatest; uncertain below `sure`."""

    threshold: float = 0.5
    sure: float = 0.0

    def decide(self, shares: npt.NDArray[np.float32]) -> Pixels:
        """Decide class indices uint8 (H, W) of shares (H, W, classes)."""
        if shares.shape[2] == 2:
            chosen = (shares[..., 1] >= self.threshold).astype(np.uint8)
        else:
            chosen = shares.argmax(axis=-1).astype(np.uint8)
        taken = np.take_along_axis(shares, chosen[..., None].astype(np.int64), axis=-1)[..., 0]
        return np.where(taken < self.sure, np.uint8(IGNORE), chosen)


def by_model(predictor: Predictor, contract: Preprocessing) -> Propose:
    """Ask a model about pictures, brought to its size as its contract says."""

    def propose(pictures: list[tuple[str, Picture]]) -> list[Shares]:
        frames = np.stack([camera_pixels(picture, contract) for _, picture in pictures])
        said = np.asarray(probabilities(predictor.logits(frames)), np.float32)
        return list(said if said.ndim == 4 else np.stack([1 - said, said], axis=-1))

    return propose


def by_soft_masks(files: Mapping[str, Path], class_count: int) -> Propose:
    """Take what a program has said of pictures. Raises DataError for a soft mask that is another picture's."""

    def propose(pictures: list[tuple[str, Picture]]) -> list[Shares]:
        said = [read_soft_mask(files[name], class_count) for name, _ in pictures]
        for (name, picture), shares in zip(pictures, said, strict=True):
            _check_shape(name, picture, shares)
        return said

    return propose


def propose_masks(pictures: Mapping[str, Path], propose: Propose, deciding: Deciding) -> Iterator[Proposal]:
    """Propose a mask for each picture, in order. Raises DataError for a picture or soft mask that cannot be read."""
    listed = list(pictures)
    for start in range(0, len(listed), _BATCH):
        names = listed[start : start + _BATCH]
        read = [(name, read_picture(pictures[name])) for name in names]
        for (name, picture), shares in zip(read, propose(read), strict=True):
            wide = resized(shares, picture.image.width, picture.image.height)
            yield Proposal(name, picture, shares, deciding.decide(wide))


def _check_shape(name: str, picture: Picture, shares: Shares) -> None:
    """Refuse a program's mask of another shape: it is probably another picture's, or not turned."""
    height, width = shares.shape[:2]
    if width >= picture.image.width and (width, height) != picture.image.size:
        raise DataError(
            f"the soft mask of {name} is {width}x{height}, the picture {picture.image.width}x{picture.image.height}",
            hint="save it at the picture's size, or smaller",
        )


def soft_mask_files(found: Mapping[str, Path], pictures: Mapping[str, Path]) -> dict[str, Path]:
    """Take the soft mask of each picture. Raises DataError that names those without."""
    return of_names(found, tuple(pictures), "pictures")
