"""Augment a batch of pixels and masks by a seed, before normalization.

"light" mirrors, crops and relights. "full" also rotates, and does what cameras do outdoors: blur, sensor noise, over-
and underexposure, drops and streaks of rain. Whatever moves pixels moves masks, and a teacher's logits, alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
Strength = Literal["off", "light", "full"]


def augment(
    images: Pixels, masks: Pixels, rng: np.random.Generator, strength: Strength = "light"
) -> tuple[Pixels, Pixels]:
    """Return changed images uint8 (B, H, W, 3) and masks uint8 (B, H, W), each item changed on its own."""
    images, masks, _ = augment_with_logits(images, masks, None, rng, strength)
    return images, masks


def augment_with_logits(
    images: Pixels, masks: Pixels, logits: Float | None, rng: np.random.Generator, strength: Strength
) -> tuple[Pixels, Pixels, Float | None]:
    """Augment as `augment` does, and move a teacher's logits for the unchanged images, float32 (B, H, W, K), along."""
    if strength == "off":
        return images, masks, logits
    if strength == "light":
        where = _crop_and_flip(masks.shape, rng)
        images, masks = images[where], masks[where]
        return _relight(images, rng), masks, None if logits is None else logits[where]
    rows, columns = _affine(masks.shape, rng)
    nearest = np.arange(len(masks))[:, None, None], np.rint(rows).astype(np.intp), np.rint(columns).astype(np.intp)
    moved = _bilinear(images.astype(np.float32), rows, columns)
    pixels = _camera(_relight(np.clip(moved + 0.5, 0, 255).astype(np.uint8), rng), rng)
    return pixels, masks[nearest], None if logits is None else _bilinear(logits, rows, columns)


def _crop_and_flip(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], ...]:
    """Index of each target pixel's source: half mirrored; half cropped to 70-100 % of each side and enlarged again."""
    count, height, width = shape
    size = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.uniform(0.7, 1.0, (count, 1)))
    rows = _crop_indices(height, size, rng.random((count, 1)))
    columns = _crop_indices(width, size, rng.random((count, 1)))
    columns = np.where(rng.random((count, 1)) < 0.5, columns[:, ::-1], columns)
    return np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]


def _crop_indices(side: int, size: npt.NDArray[Any], start: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Source index (B, side) of each target row or column; `start` 0..1 places the crop."""
    centers = (np.arange(side) + 0.5)[None, :] * size + start * (side - side * size)
    indices: npt.NDArray[Any] = np.minimum(centers.astype(np.int64), side - 1)
    return indices


def _affine(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Float, Float]:
    """Source row and column, float32 (B, H, W) each, within the frame.

    A window of 60-100 % of each side, turned by up to 8 degrees and placed anywhere; half of them mirrored.
    """
    count, height, width = shape
    draw = rng.uniform(0, 1, (6, count, 1, 1)).astype(np.float32)
    zoom, stretch = 0.65 + 0.35 * draw[0], 0.92 + 0.16 * draw[1]
    angle = np.float32(np.radians(8.0)) * (2 * draw[2] - 1)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[None, :, None] * np.float32(height - 1)
    right = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, None, :] * np.float32(width - 1)
    right = np.where(draw[3] < 0.5, -right, right)
    rows = zoom * (np.cos(angle) * down + np.sin(angle) * right)
    columns = np.minimum(zoom * stretch, 1) * (np.cos(angle) * right - np.sin(angle) * down)
    rows += (height - 1) * (0.5 + (1 - zoom) * (draw[4] - 0.5))
    columns += (width - 1) * (0.5 + (1 - zoom) * (draw[5] - 0.5))
    return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)


def _bilinear(values: Float, rows: Float, columns: Float) -> Float:
    """Sample (B, H, W, C) at fractional positions (B, H, W) within the frame."""
    count, height, width, channels = values.shape
    flat = np.ascontiguousarray(values, np.float32).reshape(-1, channels)
    top, left = np.minimum(rows.astype(np.intp), height - 2), np.minimum(columns.astype(np.intp), width - 2)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    corner = np.arange(count)[:, None, None] * (height * width) + top * width + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _relight(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Another gain, color balance, contrast and offset for each image."""
    count = len(images)
    gain = rng.uniform(0.75, 1.3, (count, 1, 1, 1)) * rng.uniform(0.92, 1.08, (count, 1, 1, images.shape[-1]))
    contrast, offset = rng.uniform(0.8, 1.2, (count, 1, 1, 1)), rng.uniform(-15, 15, (count, 1, 1, 1))
    scale = (gain * contrast).astype(np.float32)
    shift = (128.0 * (1.0 - contrast) + offset).astype(np.float32)
    lit: Pixels = np.clip(images * scale + shift + np.float32(0.5), 0, 255).astype(np.uint8)
    return lit


def _camera(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Each effect on some of the images, chosen independently: exposure 0.3, blur 0.25, rain 0.1, noise 0.4."""
    values = images.astype(np.float32)
    exposed, blurred, rained, noisy = rng.random((4, len(images)))
    chosen = np.flatnonzero(exposed < 0.3)
    gamma = rng.uniform(0.6, 1.6, (len(chosen), 1, 1, 1)).astype(np.float32)
    values[chosen] = 255 * (values[chosen] / 255) ** gamma
    chosen = np.flatnonzero(blurred < 0.25)
    values[chosen] = _blur(values[chosen])
    chosen = np.flatnonzero(rained < 0.1)
    values[chosen] = _rain(values[chosen], rng)
    chosen = np.flatnonzero(noisy < 0.4)
    sigma = rng.uniform(1, 8, (len(chosen), 1, 1, 1)).astype(np.float32)
    values[chosen] += sigma * rng.standard_normal(values[chosen].shape, dtype=np.float32)
    result: Pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return result


def _blur(values: Float) -> Float:
    """Blur by the kernel 1 2 1 in both directions."""
    for axis in (1, 2):
        widths = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(values, widths, mode="edge")
        before, after = (
            np.take(padded, range(values.shape[axis]), axis),
            np.take(padded, range(2, values.shape[axis] + 2), axis),
        )
        values = np.asarray(0.5 * values + 0.25 * (before + after), np.float32)
    return values


def _rain(values: Float, rng: np.random.Generator) -> Float:
    """Bright streaks 2-6 pixels long at 1-3 % of the pixels, and one dark drop on the lens."""
    count, height, width, _ = values.shape
    if not count:
        return values
    seeds = rng.random((count, height, width)) < rng.uniform(0.01, 0.03, (count, 1, 1))
    streak = np.zeros((count, height, width), bool)
    for step in range(int(rng.integers(2, 7))):
        streak |= np.roll(seeds, (step, step // 3), axis=(1, 2))
    values = np.where(streak[..., None], 0.6 * values + 90, values)
    down = (np.arange(height)[None, :, None] - rng.uniform(0, height, (count, 1, 1))) / height
    right = (np.arange(width)[None, None, :] - rng.uniform(0, width, (count, 1, 1))) / width
    drop = down**2 + right**2 < rng.uniform(0.03, 0.1, (count, 1, 1)) ** 2
    return np.asarray(np.where(drop[..., None], 0.5 * values + 40, values), np.float32)
