"""Read the folders of mask files that annotation tools export: Pascal VOC's SegmentationClass, Roboflow's masks.

Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/): PNG with a palette, or its colours in RGB. The
classes are those of labelmap.txt (CVAT: NAME:R,G,B:parts:actions), of class_names.txt (LabelMe: a name a line, which is
its number), or VOC's own twenty. Index 255, coloured (224, 224, 192), is void: nobody has labelled it.

Roboflow (semantic segmentation masks): NAME_mask.png beside NAME.jpg, and _classes.csv with "Pixel Value, Class".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codegen.untrusted import read_bounded, shown
from nanou_train.data.annotations.annotation import Annotated, label_of
from nanou_train.data.images import IGNORE, read_picture
from nanou_train.data.labels import LabelMap
from nanou_train.errors import DataError

VOC_TITLE, ROBOFLOW_TITLE = "Pascal VOC masks", "Roboflow masks"
VOC_FOLDERS = ("SegmentationClass", "SegmentationClassPNG")
VOC_PICTURES = "JPEGImages"
ROBOFLOW_CLASSES, ROBOFLOW_SUFFIX = "_classes.csv", "_mask"
BACKGROUND = ("background", "_background_")
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_MOST_CLASSES = 250
_MOST_BYTES = 1 << 20
_PALETTE_COLORS = 256


@dataclass(frozen=True, eq=False)
class MaskFiles:
    """Pictures with their mask files, the labels, and what the values of the files mean."""

    labels: tuple[str, ...]
    values: LabelMap
    pictures: tuple[Annotated, ...]


def voc_color(index: int) -> int:
    """Give the colour of a class as 0xRRGGBB: the bits of its number by turns to R, G and B, from the highest down."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << 7 - bit
        index >>= 3
    return channels[0] << 16 | channels[1] << 8 | channels[2]


def voc_folder(path: Path) -> Path | None:
    """Find the outermost folder SegmentationClass that a PNG file is in."""
    if path.suffix.lower() != ".png":
        return None
    return next((folder for folder in reversed(path.parents) if folder.name in VOC_FOLDERS), None)


def read_voc(folder: Path) -> MaskFiles:
    """Read a folder SegmentationClass, and the classes beside it. Raises DataError."""
    masks = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() == ".png" and not path.name.startswith(".")
    )
    label_map, names = folder.parent / "labelmap.txt", folder.parent / "class_names.txt"
    if label_map.is_file():
        colors = _label_map(label_map)
        labels = tuple(colors)
        values = _values(labels, "color", {color: index for index, color in enumerate(colors.values())}, label_map)
    else:
        labels = _class_names(names) if names.is_file() else VOC_CLASSES
        if not _all_have_palette(masks[:1]):
            # Numbers in grey, or colours without a list: VOC's own classes cannot be told from any others.
            if not names.is_file():
                raise DataError(
                    f"{folder}: masks without VOC's palette, and no labelmap.txt or class_names.txt beside it",
                    hint="say what the values mean: --masks FOLDER --label-map FILE",
                )
            values = _values(labels, "index", {index: index for index in range(len(labels))}, names)
        else:
            values = _values(labels, "color", {voc_color(index): index for index in range(len(labels))}, names)
    pictures = (
        Annotated(
            f"{VOC_PICTURES}/{path.relative_to(folder).with_suffix('').as_posix()}", path, folder.parent, mask=path
        )
        for path in masks
    )
    return MaskFiles(labels, values, tuple(pictures))


def _values(labels: Sequence[str], kind: str, values: Mapping[int, int], path: Path) -> LabelMap:
    if len(set(labels)) < len(labels) or len(values) < len(labels):
        raise DataError(f"{path} lists a class or a colour twice", hint="list each once")
    if not 0 < len(labels) <= _MOST_CLASSES:
        raise DataError(f"{path} lists {len(labels)} classes", hint=f"known are up to {_MOST_CLASSES}")
    void = voc_color(IGNORE) if kind == "color" else IGNORE
    return LabelMap(tuple(labels), "color" if kind == "color" else "index", {void: IGNORE, **values})


def _all_have_palette(masks: Sequence[Path]) -> bool:
    """Tell whether a mask's palette is VOC's, or it has colours."""
    for path in masks:
        image = read_picture(path, upright=False).image
        if image.mode == "P":
            palette = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
            used = np.unique(np.asarray(image))
            if used.max() >= len(palette) or any(
                int(palette[index] @ [65536, 256, 1]) != voc_color(int(index)) for index in used
            ):
                return False
        elif image.mode not in ("RGB", "RGBA"):
            return False
    return True


def _lines(path: Path) -> list[str]:
    try:
        return read_bounded(path, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", hint="save it as UTF-8 text") from error


def _label_map(path: Path) -> dict[str, int]:
    """Read labels and their colours."""
    colors: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        parts = rest.split(":")[0].split(",")
        if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) < _PALETTE_COLORS for part in parts):
            raise DataError(f"{path}, line {number}: {shown(line)} has no colour", hint="write NAME:R,G,B::")
        if name.strip() in colors:
            raise DataError(f"{path}, line {number}: {shown(name)} is there twice", hint="list it once")
        red, green, blue = (int(part) for part in parts)
        colors[label_of(name, str(path))] = red << 16 | green << 8 | blue
    return colors


def _class_names(path: Path) -> tuple[str, ...]:
    """Read LabelMe's class names; __ignore__, which its masks have as 255, is not numbered."""
    return tuple(label_of(line, str(path)) for line in _lines(path) if line.strip() and line.strip() != "__ignore__")


def is_roboflow_classes(path: Path) -> bool:
    if path.name != ROBOFLOW_CLASSES:
        return False
    first = (_lines(path) or [""])[0].replace(" ", "").casefold()
    return first == "pixelvalue,class"


def read_roboflow(path: Path) -> MaskFiles:
    """Read the masks beside a _classes.csv. Raises DataError."""
    labels: list[str] = []
    values: dict[int, int] = {}
    for number, row in enumerate(csv.reader(io.StringIO("\n".join(_lines(path)))), 1):
        if number == 1 or not row:
            continue
        if len(row) != 2 or not row[0].strip().isdecimal() or not 0 <= int(row[0]) < IGNORE or int(row[0]) in values:
            raise DataError(f"{path}, line {number}: {shown(','.join(row))}", hint="write VALUE, NAME, each value once")
        values[int(row[0])] = len(labels)
        labels.append(label_of(row[1], str(path)))
    if not labels:
        raise DataError(f"{path} lists no classes", hint="export the data set again")
    masks = sorted(one for one in path.parent.glob(f"*{ROBOFLOW_SUFFIX}.png") if not one.name.startswith("."))
    pictures = (Annotated(one.stem.removesuffix(ROBOFLOW_SUFFIX), one, path.parent, mask=one) for one in masks)
    return MaskFiles(tuple(labels), _values(labels, "index", values, path), tuple(pictures))
