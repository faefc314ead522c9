"""Read and write LabelMe's JSON files, one a picture (https://github.com/labelmeai/labelme).

Later shapes lie on earlier ones, as in LabelMe's own conversion. Labels `__ignore__` are LabelMe's for what is ignored.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codegen.untrusted import shown
from nanou_train.data.annotations.annotation import (
    MOST_SHAPES,
    Annotated,
    Points,
    Polygons,
    Runs,
    Shape,
    ellipse,
    label_of,
    points_of,
    rectangle,
    size_of,
)
from nanou_train.data.images import decode_picture
from nanou_train.errors import DataError

TITLE = "LabelMe"
IGNORED = "__ignore__"
_VERSION = "5.5.0"  # the layout that is written
_HINT = "save it again with LabelMe"


def is_labelme(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def read_labelme(path: Path, document: dict[str, Any]) -> Annotated:
    """Read the parsed JSON of one picture. Raises DataError."""
    name = document["imagePath"]
    if not isinstance(name, str) or not name:
        raise DataError(f"{path}: imagePath {shown(name)} is no name", hint=_HINT)
    size = None
    if document.get("imageWidth") is not None:
        size = size_of(document["imageWidth"], document.get("imageHeight"), str(path))
    if len(document["shapes"]) > MOST_SHAPES:
        raise DataError(f"{path} has more than {MOST_SHAPES:,} shapes", hint="leave some out")
    shapes, left_out = [], Counter[str]()
    for index, shape in enumerate(document["shapes"]):
        where = f"{path}, shape {index + 1}"
        if not isinstance(shape, dict):
            raise DataError(f"{where} is {shown(shape)}", hint=_HINT)
        kind = shape.get("shape_type") or "polygon"  # files of the first versions have none
        region = _region(shape, kind, where)
        if region is None:
            left_out[str(kind)] += 1
        else:
            shapes.append(Shape(label_of(shape.get("label"), where), region))
    return Annotated(name, path, path.parent, size, tuple(shapes), left_out=left_out)


def _region(shape: dict[str, Any], kind: Any, where: str) -> Polygons | Runs | None:
    """None for what has no area."""
    points = points_of(shape.get("points"), where)
    if kind == "polygon":
        return Polygons((points,)) if len(points) >= 3 else None
    if kind in ("point", "points", "line", "linestrip"):
        return None
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise DataError(f"{where}: a {kind} of {len(points)} points", hint=_HINT)
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return Polygons((rectangle(x0, y0, x1, y1),))
    if kind == "circle":  # the centre, and a point on the circle
        radius = float(np.hypot(x1 - x0, y1 - y0))
        return Polygons((ellipse(x0, y0, radius, radius),))
    if kind == "mask":
        return _mask(shape.get("mask"), points, where)
    raise DataError(f"{where}: the shape type {shown(kind)} is not known", hint="draw it as a polygon")


def _mask(text: Any, points: Points, where: str) -> Runs:
    """Decode a PNG of 0 and 255 (or 1) within a box, whose last column and row are counted in."""
    (left, top), (right, bottom) = np.rint(points).astype(int).tolist()
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise DataError(f"{where}: its mask is no base64", hint=_HINT) from error
    bitmap = np.asarray(decode_picture(data, Path(f"the mask of {where}")).image.convert("L")) > 0
    if bitmap.shape != (bottom - top + 1, right - left + 1) or min(left, top) < 0:
        raise DataError(f"{where}: its mask does not fill its box", hint=_HINT)
    return Runs.of(bitmap, left, top)


def labelme_document(image_path: str, size_px: tuple[int, int], shapes: Sequence[tuple[str, Points]]) -> dict[str, Any]:
    """Make the JSON document of a picture, which LabelMe finds at `image_path`, with labelled polygons."""
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": [
            {
                "label": label,
                "points": np.round(points, 2).tolist(),
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for label, points in shapes
        ],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size_px[1],
        "imageWidth": size_px[0],
    }
