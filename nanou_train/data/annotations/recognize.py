"""Find annotations below a path, recognize their format, and read them all."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from codegen.untrusted import parse_json, parse_xml, printable, read_bounded, shown
from nanou_train.data.annotations import coco, cvat, labelme, mask_files, yolo
from nanou_train.data.annotations.annotation import MOST_LABELS, Annotated, Annotations
from nanou_train.data.images import SUFFIXES
from nanou_train.data.labels import LabelMap
from nanou_train.errors import DataError
from nanou_train.yaml_file import read_yaml

FORMATS = {
    "labelme": labelme.TITLE,
    "cvat": cvat.TITLE,
    "coco": coco.TITLE,
    "yolo": yolo.TITLE,
    "voc": mask_files.VOC_TITLE,
    "roboflow-masks": mask_files.ROBOFLOW_TITLE,
}
_ORDERED = ("labelme", "cvat", "yolo")  # say which of two shapes lies on top; of mask files there is nothing to say
_MOST_BYTES = 128 << 20
_SHOWN_ERRORS = 3
Document = TypeVar("Document")


@dataclass
class _Found:
    """What there is of one format."""

    labels: dict[str, None] = field(default_factory=dict)
    pictures: list[Annotated] = field(default_factory=list)
    masks: LabelMap | None = None
    images: Path | None = None

    def add(self, labels: tuple[str, ...], pictures: list[Annotated]) -> None:
        self.labels.update(dict.fromkeys(labels))
        self.pictures += pictures
        self.labels.update(dict.fromkeys(shape.label for picture in pictures for shape in picture.shapes))


class _Reader:
    """Gathers what is found, file by file, and what is wrong with it."""

    def __init__(self, chosen: str | None) -> None:
        self.chosen = chosen
        self.found: dict[str, _Found] = defaultdict(_Found)
        self.skipped: list[tuple[str, Path]] = []
        self.errors: list[DataError] = []

    def wants(self, *formats: str) -> bool:
        return self.chosen is None or self.chosen in formats

    def attempt(self, read: Callable[[], None]) -> None:
        try:
            read()
        except DataError as error:
            self.errors.append(error)

    def json(self, path: Path) -> None:
        document = _parsed(path, parse_json, "JSON")
        if labelme.is_labelme(document):
            if self.wants("labelme"):
                self.found["labelme"].add((), [labelme.read_labelme(path, document)])
        elif coco.is_coco(document):
            if self.wants("coco"):
                self.found["coco"].add(*coco.read_coco(path, document))
        else:
            self.skipped.append(("of no known annotation format", path))

    def xml(self, path: Path) -> None:
        root = _parsed(path, parse_xml, "XML")
        if cvat.is_cvat(root):
            self.found["cvat"].add(*cvat.read_cvat(path, root))
        else:
            self.skipped.append(
                ("Pascal VOC boxes" if root.tag == "annotation" else "of no known annotation format", path)
            )

    def yolo(self, root: Path, files: list[Path]) -> None:
        stems = frozenset(path.with_suffix("") for path in files if path.suffix.lower() in SUFFIXES)
        texts = [path for path in files if path.suffix == ".txt" and yolo.is_label_file(path, stems)]
        names = next((root / name for name in yolo.NAME_FILES if _names_classes(root / name)), None)
        if names is None:
            if texts and (self.chosen == "yolo" or not self.found):
                raise DataError(
                    f"{root} has {len(texts)} text files of labels and no class names",
                    hint=f"put {' or '.join(yolo.NAME_FILES)} there",
                )
            return
        if not texts:
            return
        classes = yolo.read_names(names)
        self.found["yolo"].add(classes, [])
        for path in texts:
            self.attempt(partial(self.yolo_file, path, classes))

    def yolo_file(self, path: Path, classes: tuple[str, ...]) -> None:
        self.found["yolo"].add((), [yolo.read_yolo(path, classes)])

    def mask_files(self, kind: str, read: Callable[[Path], mask_files.MaskFiles], where: Path) -> None:
        files, found = read(where), self.found[kind]
        if found.masks is not None and found.masks != files.values:
            raise DataError(f"{where} gives other classes than the rest", hint="prepare them one by one")
        found.masks = files.values
        found.add(files.labels, list(files.pictures))
        if (pictures := where.parent / mask_files.VOC_PICTURES).is_dir():
            found.images = pictures


def read_annotations(path: Path, chosen: str | None = None) -> Annotations:
    """Read all annotations of a file, or of a folder and those below it; `chosen` is one of FORMATS.

    Raises DataError where nothing is recognized, where there is more than one format and none is chosen, and naming the
    files that are damaged.
    """
    root, files = _files(path)
    reader = _Reader(chosen)
    for file in files:
        suffix = file.suffix.lower()
        if suffix == ".json" and reader.wants("labelme", "coco"):
            reader.attempt(partial(reader.json, file))
        elif suffix == ".xml" and reader.wants("cvat"):
            reader.attempt(partial(reader.xml, file))
        elif reader.wants("roboflow-masks") and mask_files.is_roboflow_classes(file):
            reader.attempt(partial(reader.mask_files, "roboflow-masks", mask_files.read_roboflow, file))
    if reader.wants("voc"):
        for folder in sorted({folder for file in files if (folder := mask_files.voc_folder(file)) is not None}):
            reader.attempt(partial(reader.mask_files, "voc", mask_files.read_voc, folder))
    if reader.wants("yolo"):
        reader.attempt(lambda: reader.yolo(root, files))
    return _one_format(path, reader)


def _files(path: Path) -> tuple[Path, list[Path]]:
    """Return the folder that a path stands for, and its files, or the one file."""
    if path.is_dir():
        return path, sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}", hint="give a file of annotations, or their folder")
    if zipfile.is_zipfile(path):
        raise DataError(f"{path} is an archive", hint="unpack it, and give its folder")
    if path.name in yolo.NAME_FILES or path.name == mask_files.ROBOFLOW_CLASSES or path.suffix == ".txt":
        return _files(path.parent)
    return path.parent, [path]


def _parsed(path: Path, parse: Callable[[bytes], Document], what: str) -> Document:
    try:
        return parse(read_bounded(path, _MOST_BYTES))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check its rights") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read as {what}: {printable(str(error), 200)}", hint="export it again"
        ) from error


def _names_classes(path: Path) -> bool:
    if not path.is_file():
        return False
    return path.suffix not in (".yaml", ".yml") or yolo.is_name_file(
        read_yaml(path, error=DataError, number_keys=True).values
    )


def _one_format(path: Path, reader: _Reader) -> Annotations:
    found = {kind: one for kind, one in reader.found.items() if one.pictures}
    if reader.errors:
        said = "; ".join(str(error) for error in reader.errors[:_SHOWN_ERRORS])
        more = f"; and {len(reader.errors) - _SHOWN_ERRORS} more" if len(reader.errors) > _SHOWN_ERRORS else ""
        raise DataError(
            f"{len(reader.errors)} annotation file(s) cannot be used: {said}{more}", hint=reader.errors[0].hint
        )
    if len(found) > 1:
        raise DataError(
            f"{path} holds {' and '.join(_described(found))}", hint=f"say which by --format {' or '.join(found)}"
        )
    if not found:
        what = f"no {FORMATS[reader.chosen]}" if reader.chosen else "no annotations"
        skipped = f"; {len(reader.skipped)} files are {reader.skipped[0][0]}" if reader.skipped else ""
        raise DataError(f"{path} holds {what}{skipped}", hint=f"known are {', '.join(FORMATS.values())}")
    ((kind, one),) = found.items()
    if len(one.labels) > MOST_LABELS:
        raise DataError(f"{path} has more than {MOST_LABELS:,} labels", hint="look at it: labels are names of classes")
    _refuse_boxes_alone(path, one)
    title = FORMATS[kind] + (" (Roboflow export)" if _is_roboflow(one) else "")
    return Annotations(
        title, tuple(one.labels), tuple(one.pictures), one.masks, kind in _ORDERED, one.images, tuple(reader.skipped)
    )


def _described(found: dict[str, _Found]) -> Iterator[str]:
    for kind, one in found.items():
        yield f"{FORMATS[kind]} ({len(one.pictures)} pictures)"


def _is_roboflow(found: _Found) -> bool:
    return found.masks is None and any(".rf." in picture.name for picture in found.pictures[:10])


def _refuse_boxes_alone(path: Path, found: _Found) -> None:
    if found.masks is not None or any(picture.shapes for picture in found.pictures):
        return
    kinds = {kind for picture in found.pictures for kind in picture.left_out}
    what = f"nothing but {shown(', '.join(sorted(kinds)))}" if kinds else "no shapes"
    raise DataError(
        f"{path} has {what} on {len(found.pictures)} pictures", hint="draw polygons or masks, and export them"
    )
