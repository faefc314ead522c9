"""Seeded augmentation of a batch of pixels and masks, before normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def augment(images: Pixels, masks: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """New images uint8 (B, H, W, 3) and masks uint8 (B, H, W), each item changed on its own.

    Half are mirrored; half are cropped to 70-100 % of each side and enlarged again (nearest); all get another gain,
    color balance, contrast and offset.
    """
    images, masks = _crop_and_flip(images, masks, rng)
    return _relight(images, rng), masks


def _crop_and_flip(images: Pixels, masks: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    count, height, width = masks.shape
    size = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.uniform(0.7, 1.0, (count, 1)))
    rows = _crop_indices(height, size, rng.random((count, 1)))
    columns = _crop_indices(width, size, rng.random((count, 1)))
    columns = np.where(rng.random((count, 1)) < 0.5, columns[:, ::-1], columns)
    item, row, column = np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]
    return images[item, row, column], masks[item, row, column]


def _crop_indices(side: int, size: npt.NDArray[Any], start: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Source index (B, side) of each target row or column; `start` 0..1 places the crop."""
    centers = (np.arange(side) + 0.5)[None, :] * size + start * (side - side * size)
    indices: npt.NDArray[Any] = np.minimum(centers.astype(np.int64), side - 1)
    return indices


def _relight(images: Pixels, rng: np.random.Generator) -> Pixels:
    count = len(images)
    gain = rng.uniform(0.75, 1.3, (count, 1, 1, 1)) * rng.uniform(0.92, 1.08, (count, 1, 1, 3))
    contrast, offset = rng.uniform(0.8, 1.2, (count, 1, 1, 1)), rng.uniform(-15, 15, (count, 1, 1, 1))
    scale = (gain * contrast).astype(np.float32)
    shift = (128.0 * (1.0 - contrast) + offset).astype(np.float32)
    lit: Pixels = np.clip(images * scale + shift + np.float32(0.5), 0, 255).astype(np.uint8)
    return lit
