"""Hold what annotation files say of pictures: shapes with labels, in the order in which they are painted.

Coordinates are pixels from the picture's top left corner, x to the right and y down, so that the first pixel reaches
from 0 to 1 and its centre is at 0.5. A polygon covers the pixels whose centres lie inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.untrusted import shown
from nanou_train.data.images import MOST_PIXELS
from nanou_train.data.labels import LabelMap
from nanou_train.errors import DataError

MOST_POINTS = 100_000  # of one polygon
MOST_SHAPES = 20_000  # on one picture
MOST_LABELS = 10_000
MOST_LABEL_CHARACTERS = 200
_FARTHEST_PX = 1e6
Points = npt.NDArray[np.float64]
Bitmap = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Polygons:
    """The union of closed outlines, each float64 (P, 2) of x and y; where one crosses itself, even-odd decides.

    In pixels, or with `normalized` in shares of the picture's width and height.
    """

    rings: tuple[Points, ...]
    normalized: bool = False


@dataclass(frozen=True, eq=False)
class Runs:
    """A run-length encoded bitmap within a box: lengths of runs, int64, of background and region by turns.

    The first run is of background and may be 0 long. Pixels go row by row, or with `by_column` column by column.
    """

    counts: npt.NDArray[np.int64]
    width: int
    height: int
    left: int = 0
    top: int = 0
    by_column: bool = False

    @classmethod
    def of(cls, bitmap: Bitmap, left: int = 0, top: int = 0, *, by_column: bool = False) -> Runs:
        """Encode a bitmap (H, W)."""
        flat = (bitmap.T if by_column else bitmap).reshape(-1)
        edges = np.flatnonzero(np.diff(flat, prepend=False))
        counts = np.diff(np.concatenate([[0], edges, [flat.size]])).astype(np.int64)
        return cls(counts, bitmap.shape[1], bitmap.shape[0], left, top, by_column)

    def bitmap(self) -> Bitmap:
        """Decode to (H, W)."""
        flat = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return flat.reshape(self.width, self.height).T if self.by_column else flat.reshape(self.height, self.width)


@dataclass(frozen=True, eq=False)
class Shape:
    """A region of a picture and its label."""

    label: str
    region: Polygons | Runs


@dataclass(frozen=True, eq=False)
class Annotated:
    """What `source` says of one picture.

    `name` is the picture's as written there, a path from `folder`; it is compared with files that are there and never
    opened. `size_px` is width and height, None where the format has none. Later shapes lie on earlier ones. `mask` is
    a file in place of shapes. `left_out` counts what has no area, by what it is.
    """

    name: str
    source: Path
    folder: Path
    size_px: tuple[int, int] | None = None
    shapes: tuple[Shape, ...] = ()
    mask: Path | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotated pictures of one format, in words, and the labels that are declared or used, in that order.

    `masks` maps the values of mask files to indices of labels, IGNORE where the format says so. `ordered` tells whether
    the format says which of two shapes lies on top. `images` is where the format keeps pictures, if it does.
    """

    format: str
    labels: tuple[str, ...]
    pictures: tuple[Annotated, ...]
    masks: LabelMap | None = None
    ordered: bool = False
    images: Path | None = None
    skipped: tuple[tuple[str, Path], ...] = ()

    @property
    def label_pictures(self) -> dict[str, int]:
        """On how many pictures each label is, by label; of mask files, that is not known before they are read."""
        counts: Counter[str] = Counter(dict.fromkeys(self.labels, 0))
        for picture in self.pictures:
            counts.update({shape.label for shape in picture.shapes})
        return dict(counts)


def points_of(values: Any, where: str) -> Points:
    """Make an outline of [[x, y], ...] or [x, y, x, y, ...]. Raises DataError for other things."""
    hint = "export the annotations again"
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: points {shown(values)} are no numbers", hint=hint) from error
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"{where}: points {shown(values)} are no pairs of x and y", hint=hint)
    if len(points) > MOST_POINTS:
        raise DataError(f"{where}: a polygon has more than {MOST_POINTS:,} points", hint="simplify it")
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > _FARTHEST_PX:
        raise DataError(f"{where}: a polygon has points beyond {_FARTHEST_PX:,.0f} pixels", hint=hint)
    return points


def ellipse(x: float, y: float, radius_x: float, radius_y: float, turn_degrees: float = 0.0) -> Points:
    """Make an outline that differs from the ellipse by less than 1/10,000 of its radius."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    return turned(np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1), turn_degrees)


def rectangle(x0: float, y0: float, x1: float, y1: float, turn_degrees: float = 0.0) -> Points:
    """Make the outline of a box, turned clockwise around its middle."""
    return turned(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64), turn_degrees)


def turned(points: Points, degrees: float) -> Points:
    """Turn an outline clockwise around the middle of its box, as one sees it, y pointing down."""
    if not degrees:
        return points
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray((points - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle, np.float64)


def runs_of(counts: Any, size_px: tuple[int, int], corner: tuple[int, int], where: str, *, by_column: bool) -> Runs:
    """Check run lengths that are to fill a box of width and height. Raises DataError."""
    (width, height), (left, top) = size_px, corner
    hint = "export the annotations again"
    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS and width * height <= MOST_PIXELS):
        raise DataError(f"{where}: a mask is {width}x{height}", hint=f"at most {MOST_PIXELS:,} pixels")
    if not (0 <= left <= MOST_PIXELS and 0 <= top <= MOST_PIXELS):
        raise DataError(f"{where}: a mask begins at {left}, {top}", hint=hint)
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count <= width * height for count in counts):
        raise DataError(f"{where}: run lengths {shown(counts)} are no whole numbers within the mask", hint=hint)
    if sum(counts) != width * height:
        raise DataError(f"{where}: run lengths make {sum(counts):,} pixels, not {width}x{height}", hint=hint)
    return Runs(np.array(counts, np.int64), width, height, left, top, by_column)


def label_of(value: Any, where: str) -> str:
    """Check a label's name. Raises DataError."""
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_LABEL_CHARACTERS:
        raise DataError(f"{where}: the label {shown(value)} is no name", hint="export the annotations again")
    return value.strip()


def size_of(width: Any, height: Any, where: str) -> tuple[int, int]:
    """Check a picture's width and height. Raises DataError."""
    if not all(type(side) is int and 0 < side <= MOST_PIXELS for side in (width, height)):
        raise DataError(
            f"{where}: the size {shown(width)}x{shown(height)} is none", hint="export the annotations again"
        )
    return width, height
