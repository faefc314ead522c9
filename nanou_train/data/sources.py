"""Find what a data set is prepared from: pictures with mask files, or pictures with annotations of a labelling tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codegen.untrusted import printable
from nanou_train.data.annotations.annotation import Annotated, Annotations
from nanou_train.data.annotations.match import match_pictures
from nanou_train.data.annotations.meaning import VOID, Meaning, Unlabelled, decide
from nanou_train.data.annotations.raster import paint
from nanou_train.data.annotations.recognize import read_annotations
from nanou_train.data.images import IGNORE, SUFFIXES, read_picture
from nanou_train.data.labels import BINARY_CLASSES, class_color, drivable_names, load_label_map
from nanou_train.data.mask_values import binary_mask
from nanou_train.data.pairs import (
    FileCount,
    Pair,
    PictureFiles,
    check_size,
    find_pictures,
    picture_paths,
    read_mask,
    read_pair,
)
from nanou_train.errors import DataError

_SHOWN = 3
_COPIES = ".rf."  # Roboflow's names of augmented copies of one picture: NAME_jpg.rf.HASH
EMPTY = "annotated with nothing"
UNMASKED = "without a mask"
_NAMES = "a mask has its image's path up to the suffix; --mask-suffix _L stands for NAME_L.png"
_PARTLY = '--unmasked skip leaves them out (nanou.toml, below [data]: unmasked = "skip"); label-assist proposes masks'
Unmasked = Literal["refuse", "skip"]


@dataclass(frozen=True)
class MaskFolders:
    """Folders of images and masks, whose names agree but for `mask_suffix`; a label map says what mask values mean.

    Images without a mask are refused, or left out where `unmasked` is "skip".
    """

    images: Path
    masks: Path
    mask_suffix: str = ""
    label_map: Path | None = None
    unmasked: Unmasked = "refuse"

    @property
    def folders(self) -> tuple[Path, ...]:
        return self.images, self.masks


@dataclass(frozen=True)
class AnnotationFiles:
    """Annotations below `labels`, of a format of recognize.FORMATS or whatever is found, and a folder of images.

    What labels mean is said as in meaning.decide. With `with_empty`, pictures whose annotation holds no shape count as
    labelled: nothing is on them.
    """

    labels: Path
    images: Path | None = None
    format: str | None = None
    drivable: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    unlabelled: Unlabelled = "background"
    label_map: Path | None = None
    with_empty: bool = False

    @property
    def folder(self) -> Path:
        return self.labels if self.labels.is_dir() else self.labels.parent

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.folder, *((self.images,) if self.images else ()))


@dataclass
class AnnotationFacts:
    """What was found in annotations: the format, what each label means, and what became of pixels and shapes."""

    format: str
    pictures: int
    labels: dict[str, str]  # the class, or "ignore"
    unlabelled: str
    ordered: bool
    left_out: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    unlabelled_pixels: int = 0
    overlapped_pixels: int = 0

    def lines(self) -> tuple[str, ...]:
        """Say it."""
        means = ", ".join(f"{printable(label, 40)} is {name}" for label, name in self.labels.items())
        share = self.unlabelled_pixels / max(1, self.pixels)
        said = [
            f"{self.format}: {self.pictures} pictures; {means}",
            f"{share:.1%} of the pixels have no label: {self.unlabelled}",
        ]
        if self.unlabelled != "ignored" and share:
            said[-1] += " (--unlabelled ignore leaves them out)"
        if self.left_out:
            kinds = ", ".join(f"{count} {printable(kind, 40)}" for kind, count in self.left_out.items())
            said.append(f"left out, since it has no area: {kinds}")
        if self.overlapped_pixels and not self.ordered:
            part = self.overlapped_pixels / max(1, self.pixels)
            said.append(f"{part:.1%} of the pixels are under several labels: the last one counts")
        return tuple(said)


@dataclass(frozen=True)
class Sources:
    """What reads each pair, by the image's path without suffix below the images folder, and the classes."""

    readers: Mapping[str, Callable[[], Pair]]
    classes: tuple[str, ...] = BINARY_CLASSES
    drivable: tuple[str, ...] = BINARY_CLASSES[1:]
    palette: Sequence[tuple[int, int, int]] = (class_color(0), class_color(1))
    annotations: AnnotationFacts | None = None

    @property
    def own_group_by(self) -> str:
        """A pattern that keeps copies of one picture together, where names tell them; else empty."""
        copies = self.annotations is not None and all(_COPIES in name for name in self.readers)
        return r"([^/]+)\.rf\.[^/]+$" if copies and self.readers else ""


def find_sources(source: MaskFolders | AnnotationFiles, files: FileCount, *, upright: bool = True) -> Sources:
    """List the pairs; `files` gets what was skipped. Raises DataError."""
    if isinstance(source, AnnotationFiles):
        return _annotated(source, files, upright)
    labels = load_label_map(source.label_map) if source.label_map else None
    pairs = pair_files(source, files)
    classes_of = labels.apply if labels else binary_mask
    readers = {name: partial(read_pair, *paths, classes_of, upright=upright) for name, paths in pairs.items()}
    if labels is None:
        return Sources(readers, drivable=drivable_names("masks", BINARY_CLASSES, None))
    return Sources(readers, labels.classes, labels.drivable, labels.palette())


# ---- Annotations of labelling tools ----------------------------------------------------------------------------


def _annotated(source: AnnotationFiles, files: FileCount, upright: bool) -> Sources:
    annotations = read_annotations(source.labels, source.format)
    meaning = decide(
        annotations,
        drivable=source.drivable,
        ignore=source.ignore,
        unlabelled=source.unlabelled,
        label_map=source.label_map,
    )
    folder = source.images or annotations.images or source.folder
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint="give the folder of the images")
    masks = {one.mask.resolve() for one in annotations.pictures if one.mask}
    pictures, skipped = picture_paths(folder, deep=True)
    usable = [one for one in annotations.pictures if one.mask or one.shapes or source.with_empty]
    empty = [one for one in annotations.pictures if not (one.mask or one.shapes or source.with_empty)]
    matched, unmatched = match_pictures([*usable, *empty], [path for path in pictures if path.resolve() not in masks])
    used = {id(one) for one in usable}
    files.skipped += _worth_saying([*skipped, *annotations.skipped, *unmatched], annotations)
    files.skipped += [(EMPTY, path) for path, one in matched.items() if id(one) not in used]
    found = {_name(path, folder): (path, one) for path, one in sorted(matched.items()) if id(one) in used}
    if not found:
        raise DataError(
            f"none of the {len(annotations.pictures)} annotated pictures is below {folder} and has a shape",
            hint="give the folder of the pictures as --images",
        )
    if len(found) < len(used & {id(one) for one in matched.values()}):
        raise DataError(f"two pictures below {folder} have one name up to the suffix", hint="rename one")
    facts = _facts(annotations, meaning, [one for _, one in found.values()], source)
    readers = {
        name: partial(read_annotated, path, one, annotations, meaning, facts, upright=upright)
        for name, (path, one) in found.items()
    }
    return Sources(readers, meaning.classes, meaning.drivable, meaning.palette, facts)


def _worth_saying(skipped: list[tuple[str, Path]], annotations: Annotations) -> list[tuple[str, Path]]:
    """All but the annotation files themselves, which lie among the pictures."""
    read = {one.source for one in annotations.pictures}
    kinds = {".json", ".xml", ".txt", ".yaml", ".yml", ".csv"}
    return [
        (reason, path)
        for reason, path in skipped
        if path not in read and not (reason == "of no known picture suffix" and path.suffix.lower() in kinds)
    ]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _facts(
    annotations: Annotations, meaning: Meaning, used: Sequence[Annotated], source: AnnotationFiles
) -> AnnotationFacts:
    named = {IGNORE: "ignored", **dict(enumerate(meaning.classes))}
    left_out: Counter[str] = Counter()
    for one in used:
        left_out.update(one.left_out)
    means = {label: named[int(meaning.table[number])] for label, number in meaning.numbers.items() if number}
    return AnnotationFacts(
        annotations.format,
        len(annotations.pictures),
        means,
        named[int(meaning.table[0])],
        annotations.ordered or annotations.masks is not None,
        dict(left_out),
    )


def read_annotated(
    image_path: Path,
    one: Annotated,
    annotations: Annotations,
    meaning: Meaning,
    facts: AnnotationFacts,
    *,
    upright: bool = True,
) -> Pair:
    """Read an image and paint its annotation; `facts` gets the pixels. Raises DataError as pairs.read_pair."""
    picture = read_picture(image_path, upright=upright)
    if one.mask is not None and annotations.masks is not None:
        found = annotations.masks.apply(read_mask(one.mask, picture, upright=upright))
        of_index = [meaning.numbers[label] for label in annotations.labels]
        numbers = np.array([*of_index, *[VOID] * (IGNORE + 1 - len(of_index))], np.uint16)[found]
    else:
        if one.size_px is not None:
            check_size(picture, one.size_px, f"its annotation in {one.source}")
        painted = paint(one, meaning.numbers, picture.image.width, picture.image.height)
        numbers = painted.numbers
        facts.overlapped_pixels += painted.overlapped_px
    facts.pixels += numbers.size
    facts.unlabelled_pixels += int(np.count_nonzero(numbers == 0))
    return Pair(picture, meaning.classes_of(numbers))


# ---- Mask files ------------------------------------------------------------------------------------------------


def pair_files(source: MaskFolders, count: FileCount) -> dict[str, tuple[Path, Path]]:
    """Pair images and masks by name, the image's path below `images` without suffix. Raises DataError.

    `count` gets what was skipped.
    """
    image_files = _below(source.images, "images", "", partial(_is_mask, source))
    mask_files = _below(source.masks, "masks", source.mask_suffix, partial(_is_image, source))
    shared = {path for _, path in image_files.skipped} & {path for _, path in mask_files.skipped}
    theirs_too = {*image_files.files.values(), *mask_files.files.values()}
    found = [*image_files.skipped, *(one for one in mask_files.skipped if one[1] not in shared)]
    count.skipped += [one for one in found if one[1] not in theirs_too]
    images, masks = image_files.files, mask_files.files
    if source.unmasked == "skip" and (both := images.keys() & masks.keys()):
        count.skipped += [(UNMASKED, images[name]) for name in sorted(images.keys() - both)]
        images = {name: images[name] for name in both}
    for ours, theirs, what in ((images, masks, "mask"), (masks, images, "image")):
        if alone := sorted(ours.keys() - theirs.keys()):
            shown = ", ".join(str(ours[name]) for name in alone[:_SHOWN]) + (", ..." if len(alone) > _SHOWN else "")
            raise DataError(
                f"{len(alone)} of {len(ours)} files have no {what} of the same name: {shown}",
                hint=_PARTLY if what == "mask" and len(alone) < len(ours) else _NAMES,
            )
    return {name: (images[name], masks[name]) for name in sorted(images)}


def _is_mask(source: MaskFolders, path: Path) -> str:
    """Say why a file among the images is none: it lies in the masks' folder, or beside them and has their name.

    Roboflow, among others, exports NAME.jpg and NAME_mask.png into one folder.
    """
    if source.masks.resolve() == source.images.resolve():
        return "masks" if source.mask_suffix and path.stem.endswith(source.mask_suffix) else ""
    return "masks" if _lies_in(path, source.masks, source.images) else ""


def _is_image(source: MaskFolders, path: Path) -> str:
    return "images" if _lies_in(path, source.images, source.masks) else ""


def _lies_in(path: Path, inner: Path, outer: Path) -> bool:
    """Tell whether `inner` is a folder within `outer`, and the path is in it."""
    place = inner.resolve()
    return outer.resolve() in place.parents and place in path.resolve().parents


def _below(folder: Path, what: str, suffix: str, skip: Callable[[Path], str]) -> PictureFiles:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint=f"give the folder of the {what}")
    found = find_pictures(folder, deep=True, suffix=suffix, skip=skip)
    if not found.files:
        others = sum(reason.startswith("without") for reason, _ in found.skipped)
        ending = f" whose name ends in {printable(suffix, 60)}; {others} have another" if others else ""
        raise DataError(f"no {what} in {folder}{ending}", hint=f"put {', '.join(SUFFIXES)} files there")
    return found


def as_json(facts: AnnotationFacts) -> dict[str, Any]:
    """JSON types."""
    return {
        "format": facts.format,
        "pictures": facts.pictures,
        "labels": facts.labels,
        "unlabelled": facts.unlabelled,
        "unlabelled_share": facts.unlabelled_pixels / max(1, facts.pixels),
        "overlapped_share": facts.overlapped_pixels / max(1, facts.pixels),
        "left_out": facts.left_out,
    }
