"""Read CVAT's XML for images, version 1.1 (https://docs.cvat.ai/docs/manual/advanced/xml_format/).

A shape of greater z_order lies on one of smaller, and of equals the later one. A mask's run lengths begin with
background and go row by row through its box.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

from codegen.untrusted import shown
from nanou_train.data.annotations.annotation import (
    MOST_SHAPES,
    Annotated,
    Polygons,
    Runs,
    Shape,
    ellipse,
    label_of,
    points_of,
    rectangle,
    runs_of,
    size_of,
)
from nanou_train.errors import DataError

TITLE = "CVAT 1.1 for images"
_HINT = "export it again as CVAT for images 1.1"
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


def is_cvat(root: Element) -> bool:
    return root.tag == "annotations" and (root.find("meta") is not None or root.find("image") is not None)


def read_cvat(path: Path, root: Element) -> tuple[tuple[str, ...], list[Annotated]]:
    """Read declared labels and pictures. Raises DataError; also for videos, whose tracks are interpolated."""
    if root.find("track") is not None:
        raise DataError(f"{path} is CVAT for video, whose tracks are interpolated between frames", hint=_HINT)
    if (version := root.findtext("version")) not in (None, "1.1"):
        raise DataError(f"{path} is CVAT's version {shown(version)}, known is 1.1", hint=_HINT)
    labels = tuple(label_of(one.text, str(path)) for one in root.iterfind("./meta/*/labels/label/name"))
    return labels, [_read_image(path, image) for image in root.iterfind("image")]


def _read_image(path: Path, image: Element) -> Annotated:
    name = image.get("name") or ""
    where = f"{path}, picture {shown(name)}"
    if not name:
        raise DataError(f"{path}: a picture without a name", hint=_HINT)
    size = size_of(_whole(image, "width", where), _whole(image, "height", where), where)
    found, left_out = [], Counter[str]()
    if len(image) > MOST_SHAPES:
        raise DataError(f"{where} has more than {MOST_SHAPES:,} shapes", hint="leave some out")
    for shape in image:
        region = _region(shape, where)
        if region is None:
            left_out[shape.tag] += 1
        else:
            found.append((_whole(shape, "z_order", where, 0), Shape(label_of(shape.get("label"), where), region)))
    found.sort(key=lambda one: one[0])  # stable: of equals the later one stays on top
    return Annotated(name, path, path.parent, size, tuple(shape for _, shape in found), left_out=left_out)


def _region(shape: Element, where: str) -> Polygons | Runs | None:
    """None for what has no area."""
    if shape.tag == "polygon":
        points = points_of([pair.split(",") for pair in (shape.get("points") or "").split(";") if pair], where)
        return Polygons((points,)) if len(points) >= 3 else None
    if shape.tag == "box":
        x0, y0, x1, y1 = (_number(shape, name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
        return Polygons((rectangle(x0, y0, x1, y1, _number(shape, "rotation", where, 0.0)),))
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = (_number(shape, name, where) for name in ("cx", "cy", "rx", "ry"))
        return Polygons((ellipse(x, y, radius_x, radius_y, _number(shape, "rotation", where, 0.0)),))
    if shape.tag == "mask":
        size = _whole(shape, "width", where), _whole(shape, "height", where)
        corner = _whole(shape, "left", where), _whole(shape, "top", where)
        counts = [int(one) if one.isdecimal() else -1 for one in (shape.get("rle") or "").replace(" ", "").split(",")]
        return runs_of(counts, size, corner, where, by_column=False)
    if shape.tag in _WITHOUT_AREA:
        return None
    raise DataError(f"{where}: <{shown(shape.tag)}> is not known", hint=_HINT)


def _number(element: Element, name: str, where: str, default: float | None = None) -> float:
    text = element.get(name)
    try:
        value = float(default if text is None and default is not None else text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {name} is {shown(text)}, no number", hint=_HINT) from error
    if not math.isfinite(value) or abs(value) > 1e6:
        raise DataError(f"{where}: {name} is {shown(text)}", hint=_HINT)
    return value


def _whole(element: Element, name: str, where: str, default: int | None = None) -> int:
    value = _number(element, name, where, default)
    if value != int(value):
        raise DataError(f"{where}: {name} is {value}, no whole number", hint=_HINT)
    return int(value)
