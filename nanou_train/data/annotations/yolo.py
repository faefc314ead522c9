"""Read polygons of YOLO segmentation data sets (https://docs.ultralytics.com/datasets/segment/).

One text file a picture, a row for each polygon: class number, then x and y by turns, in shares of width and height.
Where polygons overlap the smaller one lies on top, as in Ultralytics' own conversion to masks.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from codegen.untrusted import read_bounded, shown
from nanou_train.data.annotations.annotation import (
    MOST_LABELS,
    MOST_SHAPES,
    Annotated,
    Points,
    Polygons,
    Shape,
    label_of,
    points_of,
)
from nanou_train.errors import DataError
from nanou_train.yaml_file import read_yaml

TITLE = "YOLO polygons"
NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
_FOLDER, _PICTURES = "labels", "images"
_MOST_BYTES = 16 << 20
_BEYOND = 1.0  # how far outside of the picture points may lie, in its sides
_BOX_NUMBERS = 4


def read_names(path: Path) -> tuple[str, ...]:
    """Read class names in the order of their numbers, of YAML (a list or numbers and names) or a line each."""
    hint = 'write names: [NAME, ...] into data.yaml, or "names:" and below it NUMBER: NAME'
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(path, error=DataError, number_keys=True).values
        names = document.get("names") if isinstance(document, dict) else None
    else:
        try:
            names = read_bounded(path, _MOST_BYTES).decode("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}", hint="save it as UTF-8 text, a name a line") from error
    if isinstance(names, dict):
        numbers = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        if len(numbers) != len(names) or sorted(numbers) != list(range(len(numbers))):
            raise DataError(f"{path}: names are not numbered from 0 on", hint=hint)
        names = [numbers[number] for number in range(len(numbers))]
    if not isinstance(names, list) or not 0 < len(names) <= MOST_LABELS:
        raise DataError(f"{path} names no classes", hint=hint)
    return tuple(label_of(name if isinstance(name, str) else str(name), str(path)) for name in names)


def read_yolo(path: Path, names: tuple[str, ...]) -> Annotated:
    """Read the polygons of one picture. Raises DataError naming the line."""
    try:
        lines = read_bounded(path, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", hint="export it again") from error
    if len(lines) > MOST_SHAPES:
        raise DataError(f"{path} has more than {MOST_SHAPES:,} polygons", hint="leave some out")
    found: list[tuple[float, Shape]] = []
    left_out = Counter[str]()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if not words[0].isdecimal() or int(words[0]) >= len(names):
            raise DataError(
                f"{where}: {shown(words[0])} is no class number below {len(names)}",
                hint="look at data.yaml and the file",
            )
        if len(words) - 1 == _BOX_NUMBERS:
            left_out["box"] += 1
            continue
        points = points_of(words[1:], where)
        if len(points) < 3:
            left_out["polygon of fewer than 3 points"] += 1
            continue
        if points.min() < -_BEYOND or points.max() > 1 + _BEYOND:
            raise DataError(
                f"{where}: {points.max():g} is no share of the picture's side", hint="coordinates are from 0 to 1"
            )
        found.append((_area(points), Shape(names[int(words[0])], Polygons((points,), normalized=True))))
    found.sort(key=lambda one: -one[0])  # stable: of equals the later one stays on top
    return Annotated(
        _picture_of(path), path, Path(path.anchor), None, tuple(one for _, one in found), left_out=left_out
    )


def _area(points: Points) -> float:
    """By the shoelace formula, in shares of the picture."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _picture_of(path: Path) -> str:
    """Return the picture's path without suffix: the last folder `labels` stands for `images`."""
    parts = list(path.with_suffix("").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == _FOLDER]
    if places:
        parts[places[-1]] = _PICTURES
    return Path(*parts).as_posix()


def is_label_file(path: Path, picture_stems: frozenset[Path]) -> bool:
    """Tell whether a text file has polygons: it lies in a folder `labels`, or beside a picture of its name."""
    return path.name not in NAME_FILES and (_FOLDER in path.parts[:-1] or path.with_suffix("") in picture_stems)


def is_name_file(document: Any) -> bool:
    return isinstance(document, dict) and "names" in document
