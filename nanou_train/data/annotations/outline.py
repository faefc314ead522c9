"""Turn a mask of classes into polygons that, painted one on the other, give it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nanou_train.data.annotations.annotation import Points
from nanou_train.data.images import Pixels


@dataclass(frozen=True, eq=False)
class Outline:
    """The outer outline of a connected region of one class, holes not left out, float64 (P, 2) in pixels."""

    index: int
    points: Points
    area_px: float


def outlines(
    classes: Pixels, indices: Sequence[int], *, tolerance_px: float = 0.0, least_px: float = 0.0, background: int = 0
) -> list[Outline]:
    """Outline the regions of the classes `indices` of a mask uint8 (H, W), the largest first, which is painted first.

    What lies in a hole is smaller than what surrounds it, so it is painted later. Regions of `background` that reach
    the picture's edge lie in no hole, and need no outline. Simplified to `tolerance_px`; regions below `least_px` are
    left out, and become what surrounds them.
    """
    height, width = classes.shape
    found = []
    for index in indices:
        for points in _rings(classes == index):
            area = _signed_area(points)
            if area <= 0 or area < least_px:  # holes run the other way around
                continue
            edges = points.min() <= 0 or points[:, 0].max() >= width or points[:, 1].max() >= height
            if index == background and edges:
                continue
            simple = simplified(points, tolerance_px)
            if len(simple) >= 3:
                found.append(Outline(index, simple, area))
    return sorted(found, key=lambda one: -one.area_px)


def _rings(inside: npt.NDArray[np.bool_]) -> list[Points]:
    """Trace the borders between pixel centres inside and outside (marching squares), outside at the picture's edge.

    Coordinates count from the picture's corner. A pixel at the edge is outlined there: no centre lies beyond.
    """
    from contourpy import LineType, contour_generator

    padded = np.pad(inside, 1).astype(np.float64)
    lines = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    height, width = inside.shape
    rings = []
    for line in lines:
        points = np.asarray(line, np.float64)[:-1] - 0.5  # of the padded picture's centres
        near_edge = np.array([width, height], np.float64)
        points = np.where(points >= near_edge, near_edge, np.maximum(points, 0))
        rings.append(points)
    return rings


def _signed_area(points: Points) -> float:
    """Positive where the region lies within the ring, by the direction in which contourpy goes around."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def simplified(points: Points, tolerance_px: float) -> Points:
    """Leave out points of a closed outline that lie within the tolerance of what remains (Douglas and Peucker 1973)."""
    if tolerance_px <= 0 or len(points) < 4:
        return points
    far = int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))
    closed = np.vstack([points, points[:1]])
    keep = np.zeros(len(closed), bool)
    keep[[0, far, len(points)]] = True
    pending = [(0, far), (far, len(points))]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        distances = _distances(closed[first + 1 : last], closed[first], closed[last])
        farthest = int(np.argmax(distances))
        if distances[farthest] > tolerance_px:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return closed[:-1][keep[:-1]]


def _distances(points: Points, start: Points, end: Points) -> npt.NDArray[np.float64]:
    """Compute the distance of points to a line segment."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(points - start - share[:, None] * along).T))
