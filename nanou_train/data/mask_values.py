"""Read masks that need no label map: 0 and 255, or class indices; and refuse what a mask's file leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nanou_train.data.images import IGNORE, Picture, Pixels
from nanou_train.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


def binary_mask(picture: Picture) -> Pixels:
    """Read class indices uint8 (H, W) from a mask that is 255 where drivable and 0 elsewhere; split at 128.

    One channel, or RGB with three equal ones. Raises DataError for palettes, colours, 16 bits, class numbers, and for
    more levels than two, such as 0, 1 and 255: none of these says which pixels are drivable. Edges may be soft, and a
    JPEG's values may scatter.
    """
    mask, path = picture.image, picture.path
    hint = "save it with one 8-bit channel, 255 where drivable, or give `nanou-deploy prepare` a --label-map"
    values = np.asarray(mask)
    if mask.mode == "RGB" and bool((values == values[..., :1]).all()):
        values = values[..., 0]
    elif mask.mode == "1":
        values = values.astype(np.uint8) * np.uint8(255)
    elif mask.mode != "L":
        raise DataError(f"mask {path} has Pillow mode {mask.mode}, not one 8-bit channel", hint=hint)
    top = int(values.max(initial=0))
    if 0 < top < 128:
        raise DataError(f"mask {path} has values up to {top}: class numbers, not 0 and 255", hint=hint)
    if levels := _levels(values, lossy=picture.lossy):
        listed = ", ".join(f"{value} ({share:.1%})" for value, share in list(levels.items())[:6])
        raise DataError(
            f"mask {path} has more than the values 0 and 255: {listed}{', ...' if len(levels) > 6 else ''}",
            hint="give `nanou-deploy prepare` a --label-map that says what each value means, with ignore: [...] for "
            "those that mean nothing",
        )
    return (values >= 128).astype(np.uint8)


_NEAR = 16  # how far a JPEG's values scatter, at both ends alike
_ABOVE_0, _BELOW_255 = slice(1, _NEAR + 1), slice(255 - _NEAR, 255)
_CLASS_SHARE, _SOFT_SHARE, _SOFT_LEVELS = 0.005, 0.25, 12


def _levels(values: Pixels, *, lossy: bool) -> dict[int, float]:
    """Return the values of a mask and their shares where more than two levels are meant, nothing where 0 and 255 are.

    A level has areas of one value, three pixels wide, which no soft edge has, or much of the mask is between the two,
    as of a photograph. Class numbers lie close to 0 alone, where a JPEG scatters at both ends and has edges of all
    values.
    """
    counts = np.bincount(values.reshape(-1), minlength=256)
    shares = counts / max(1, values.size)
    numbered = _has_level(values, counts, _ABOVE_0, _BELOW_255)
    numbered |= _has_levels_beside(values, counts, lossy=lossy)
    between = (values > _NEAR) & (values < 255 - _NEAR)
    if numbered or between.mean() > _SOFT_SHARE or (_has_flat_area(values, between)):
        return {value: float(shares[value]) for value in np.argsort(-counts, kind="stable").tolist() if counts[value]}
    return {}


def _has_levels_beside(values: Pixels, counts: npt.NDArray[np.int64], *, lossy: bool) -> bool:
    """Tell whether there are levels beside 255, such as 254 for what is ignored, and no scatter or edge explains them.

    Or beside 0 and 255 without anything between, which no soft edge leaves out.
    """
    top = counts[255]
    if not lossy and not counts[_NEAR + 1 : 255 - _NEAR].any():
        low, high = counts[_ABOVE_0].sum(), counts[_BELOW_255].sum()
        return bool((low and counts[0] and top) or (high and top))
    return bool(top) and _has_level(values, counts, _BELOW_255, _ABOVE_0)


def _has_level(values: Pixels, counts: npt.NDArray[np.int64], own: slice, across: slice) -> bool:
    """Tell whether one end's values `own` have a level; scatter and edges would lie `across` as well, or between."""
    count = counts[own].sum()
    soft = np.count_nonzero(counts[64:192]) >= _SOFT_LEVELS or 8 * counts[across].sum() >= count
    chosen = (values >= own.start) & (values < own.stop)
    return bool(not soft and count >= _CLASS_SHARE * values.size) and _has_flat_area(values, chosen)


def _has_flat_area(values: Pixels, chosen: npt.NDArray[np.bool_]) -> bool:
    """Tell whether one of the chosen pixels has its value in common with its eight neighbours."""
    if min(values.shape) < 3 or not chosen.any():
        return False
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3))[chosen[1:-1, 1:-1]]
    return bool((windows == windows[:, 1:2, 1:2]).all(axis=(1, 2)).any())


def index_mask(picture: Picture, class_count: int, *, ignores: bool) -> Pixels:
    """Read class indices uint8 (H, W) from a mask of one channel that holds them, grey or with a palette.

    With `ignores`, IGNORE is among them. Raises DataError for another mode, for an index that no class has, and for
    a file whose compression changes values: of one class it may have made another.
    """
    mask, path = picture.image, picture.path
    if picture.lossy:
        raise DataError(
            f"mask {path} holds class indices in a file whose compression changes values",
            hint="save masks as PNG, from where they were drawn",
        )
    if mask.mode not in ("1", "L", "P"):
        raise DataError(
            f"mask {path} has Pillow mode {mask.mode}, not one channel of class indices",
            hint="`nanou-deploy prepare --label-map` turns colours into indices",
        )
    values = np.asarray(mask).astype(np.uint8)
    unknown = (values >= class_count) & ~((values == IGNORE) & ignores)
    if unknown.any():
        raise DataError(
            f"mask {path} has the value {values[unknown].max()}, dataset.json names {class_count} classes (0 to "
            f"{class_count - 1}{f', {IGNORE} is ignored' if ignores else ''})",
            hint="add the class to dataset.json, or prepare the data set again",
        )
    return values


def check_whole(values: npt.NDArray[np.float32], path: Path) -> None:
    """Raise DataError for floating-point values that are no whole numbers."""
    odd = values[~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) <= 65535))]
    if odd.size:
        raise DataError(
            f"mask {path} has floating-point values such as {odd[0]:g}, the label map lists numbers",
            hint="save it with whole numbers from 0 to 65535",
        )


def check_opaque(mask: Image, path: Path) -> None:
    """Raise DataError for transparent pixels that have a colour all the same: which of both is meant?"""
    if not mask.has_transparency_data:
        return
    pixels = np.asarray(mask.convert("RGBA"))
    odd = pixels[(pixels[..., 3] < 128) & pixels[..., :3].any(axis=-1)]
    if odd.size:
        red, green, blue, _ = odd[0]
        raise DataError(
            f"mask {path} has {len(odd)} transparent pixels with a colour, such as #{red:02x}{green:02x}{blue:02x}",
            hint="save it without transparency, each pixel in the colour of its class",
        )
