"""Read COCO's JSON: polygons, and run-length masks as lists or compressed (https://cocodataset.org/#format-data).

An annotation is the union of its polygons. Run lengths begin with background and go column by column; those of crowds
are regions like others. COCO says nothing of which annotation lies on top: later ones do, as in its own tools.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from codegen.untrusted import shown
from nanou_train.data.annotations.annotation import (
    MOST_SHAPES,
    Annotated,
    Polygons,
    Runs,
    Shape,
    label_of,
    points_of,
    runs_of,
    size_of,
)
from nanou_train.data.annotations.run_lengths import decode_counts
from nanou_train.errors import DataError

TITLE = "COCO"
_HINT = "export it again as COCO segmentation"
_PARTS = ("images", "annotations", "categories")


def is_coco(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(document.get(part), list) for part in _PARTS)


def read_coco(path: Path, document: dict[str, Any]) -> tuple[tuple[str, ...], list[Annotated]]:
    """Read category names and pictures of parsed JSON. Raises DataError."""
    for part in _PARTS:
        if odd := [one for one in document[part] if not isinstance(one, dict) or ("id" not in one)]:
            raise DataError(f"{path}: {part} hold {shown(odd[0])}", hint=_HINT)
    labels = {_id(one, "id", path): label_of(one.get("name"), str(path)) for one in document["categories"]}
    images = {_id(one, "id", path): one for one in document["images"]}
    shapes: dict[int, list[Shape]] = defaultdict(list)
    left_out: dict[int, Counter[str]] = defaultdict(Counter)
    for one in document["annotations"]:
        where = f"{path}, annotation {shown(one['id'])}"
        image, category = _id(one, "image_id", path), _id(one, "category_id", path)
        if image not in images or category not in labels:
            what = f"picture {image}" if image not in images else f"category {category}"
            raise DataError(f"{where} names {what}, which is not there", hint=_HINT)
        region = _region(one.get("segmentation"), where)
        if region is None:
            left_out[image]["box without segmentation"] += 1
        else:
            shapes[image].append(Shape(labels[category], region))
    pictures = [_picture(path, image, shapes[key], left_out[key]) for key, image in images.items()]
    return tuple(dict.fromkeys(labels.values())), pictures


def _picture(path: Path, image: dict[str, Any], shapes: list[Shape], left_out: Counter[str]) -> Annotated:
    name = image.get("file_name")
    where = f"{path}, picture {shown(name)}"
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} is no name", hint=_HINT)
    if len(shapes) > MOST_SHAPES:
        raise DataError(f"{where} has more than {MOST_SHAPES:,} annotations", hint="leave some out")
    size = size_of(image.get("width"), image.get("height"), where)
    for shape in shapes:
        if isinstance(shape.region, Runs) and (shape.region.width, shape.region.height) != size:
            raise DataError(f"{where}: a mask has another size than the picture", hint=_HINT)
    return Annotated(name, path, path.parent, size, tuple(shapes), left_out=left_out)


def _region(segmentation: Any, where: str) -> Polygons | Runs | None:
    """None for a box alone."""
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(size, list) or len(size) != 2:
            raise DataError(f"{where}: a mask's size is {shown(size)}", hint=_HINT)
        height_px, width_px = size
        if isinstance(counts, str):
            counts = decode_counts(counts, where)
        return runs_of(counts, size_of(width_px, height_px, where), (0, 0), where, by_column=True)
    if segmentation is None or segmentation == []:
        return None
    if not isinstance(segmentation, list) or not all(isinstance(ring, list) for ring in segmentation):
        raise DataError(f"{where}: segmentation {shown(segmentation)} is none", hint=_HINT)
    rings = tuple(points for ring in segmentation if len(points := points_of(ring, where)) >= 3)
    return Polygons(rings) if rings else None


def _id(one: dict[str, Any], name: str, path: Path) -> int:
    value = one.get(name)
    if type(value) is not int:
        raise DataError(f"{path}: {name} is {shown(value)}, no whole number", hint=_HINT)
    return value
