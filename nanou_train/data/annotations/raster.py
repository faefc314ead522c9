"""Paint shapes into an array of label numbers, pixel by pixel centre."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nanou_train.data.annotations.annotation import Annotated, Bitmap, Points, Polygons, Runs
from nanou_train.errors import DataError

MOST_CROSSINGS = 50_000_000  # of outlines and rows, over all shapes of a picture
MOST_PAINTED = 4_000_000_000  # pixels, likewise
Numbers = npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Painted:
    """Label numbers uint16 (H, W), 0 where no shape is; how many pixels lay under another label before."""

    numbers: Numbers
    overlapped_px: int


class Part(NamedTuple):
    """A bitmap and where its top left corner is in the picture."""

    top: int
    left: int
    inside: Bitmap


def paint(annotated: Annotated, numbers: Mapping[str, int], width: int, height: int) -> Painted:
    """Paint the shapes of a picture one on the other. Raises DataError where that would take too long."""
    _check_effort(annotated, width, height)
    canvas: Numbers = np.zeros((height, width), np.uint16)
    overlapped = 0
    for shape in annotated.shapes:
        number = numbers[shape.label]
        for top, left, inside in parts(shape.region, width, height):
            under = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
            overlapped += int(np.count_nonzero((under != 0) & (under != number) & inside))
            under[inside] = number
    return Painted(canvas, overlapped)


def _check_effort(annotated: Annotated, width: int, height: int) -> None:
    """Add up what all shapes will take, before any is painted. Raises DataError."""
    crossings = painted = 0.0
    for shape in annotated.shapes:
        if isinstance(shape.region, Runs):
            painted += shape.region.width * shape.region.height
            continue
        for ring in _in_pixels(shape.region, width, height):
            x, y = np.clip(ring[:, 0], 0, width), np.clip(ring[:, 1], 0, height)
            crossings += float(np.abs(y - np.roll(y, -1)).sum()) + len(y)
            painted += float(np.ptp(x) * np.ptp(y))
    if crossings > MOST_CROSSINGS or painted > MOST_PAINTED:
        raise DataError(
            f"{annotated.source}: the shapes of {annotated.name} are too many to paint", hint="simplify them"
        )


def parts(region: Polygons | Runs, width: int, height: int) -> Iterator[Part]:
    """Turn a region into bitmaps within a picture of that size; what lies outside is cut off."""
    if isinstance(region, Runs):
        top, left = region.top, region.left
        inside = region.bitmap()[: max(0, height - top), : max(0, width - left)]
        yield Part(top, left, inside)
        return
    for ring in _in_pixels(region, width, height):
        yield fill(ring, width, height)


def _in_pixels(region: Polygons, width: int, height: int) -> Iterator[Points]:
    for ring in region.rings:
        yield ring * (width, height) if region.normalized else ring


def fill(ring: Points, width: int, height: int) -> Part:
    """Find the pixels whose centres lie inside a closed outline, by the even-odd rule.

    A centre on a left or upper edge is inside, one on a right or lower edge is not: neighbours that share an edge share
    no pixel and leave none out. Outlines are crossed with the line through each row's centres; an odd number of
    crossings to the left means inside.
    """
    start, end = ring, np.roll(ring, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)  # rows whose centre has low <= y < high
    counts = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first
    top, bottom = int(first[counts > 0].min(initial=height)), int((first + counts)[counts > 0].max(initial=0))
    left = int(np.clip(np.ceil(ring[:, 0].min() - 0.5), 0, width))
    right = int(np.clip(np.ceil(ring[:, 0].max() - 0.5), 0, width))
    if top >= bottom or left >= right:
        return Part(0, 0, np.zeros((0, 0), bool))
    edge = np.repeat(np.arange(len(ring)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
    span = right - left + 1
    crossed = np.bincount((row - top) * span + column - left, minlength=(bottom - top) * span)
    odd = np.bitwise_xor.accumulate((crossed & 1).astype(bool).reshape(bottom - top, span), axis=1)
    return Part(top, left, odd[:, :-1])
