"""Load data sets: folders of images and masks, and the embedded terrain.

A folder data set is ROOT/{train,val,test}/{img,mask}/STEM, of any suffix in images.SUFFIXES. An image and its mask
share a stem and a size. Images of any size are squeezed (not cropped) to the model's size by the filter of the
preprocessing contract; of masks, each class's share is resized by the same filter and the greatest wins (images.vote).

Without more, a mask is one channel (or RGB with three equal ones) of 0 and 255, 255 = drivable. With ROOT/dataset.json,
which `nanou-deploy prepare` writes, masks hold class indices, and 255 where nobody has labelled (schema 1: 0 and 255 of
two classes, indices of more, all labelled). It names the classes and the sequence that each image belongs to.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codegen.graph.model import Preprocessing
from codegen.untrusted import printable, read_json, shown
from nanou_train.data import terrain
from nanou_train.data.images import IGNORE, SUFFIXES, Pixels, grey_pixels
from nanou_train.data.labels import (
    BINARY_CLASSES,
    MAX_CLASSES,
    check_names,
    drivable_names,
)
from nanou_train.data.mask_values import binary_mask, index_mask
from nanou_train.data.pairs import ClassesOf, FileCount, count_classes, find_pictures, lost_classes, read_pair
from nanou_train.errors import DataError

SPLITS = ("train", "val", "test")
CARD = "dataset.json"
CARD_SCHEMA = 2
CARD_BYTES = 64 << 20
MAX_TERMS = 500  # characters of a licence, of an attribution
_CARD_KEYS = ("schema", "classes", "drivable", "ignore", "colors", "groups", "licence", "attribution", "prepared")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetSpec:
    """Where a folder data set is and how its images become model input."""

    root: Path
    height_px: int = 60
    width_px: int = 80
    channels: int = 3
    resize_filter: str = "box"
    color_order: str = "RGB"

    @classmethod
    def of(cls, root: Path, contract: Preprocessing) -> DatasetSpec:
        """Make the spec of a folder that is read as a preprocessing contract says."""
        size = (contract.height_px, contract.width_px, contract.channels)
        return cls(root, *size, contract.resize_filter, contract.color_order)

    @property
    def contract(self) -> Preprocessing:
        return Preprocessing(
            self.height_px,
            self.width_px,
            self.channels,
            resize_filter=self.resize_filter,
            color_order=self.color_order,
        )


@dataclass(frozen=True)
class DatasetCard:
    """What ROOT/dataset.json says: class names in the order of their indices, and the sequence of each stem.

    `drivable` are the names of the classes that count as drivable. `resize_filter` is the one that `prepare` has used,
    empty where the images are as the camera gave them. With `indexed`, masks hold class indices and IGNORE.
    `licence` and `attribution` are its makers' words.
    """

    classes: tuple[str, ...] = BINARY_CLASSES
    groups: Mapping[str, str] = field(default_factory=dict)
    resize_filter: str = ""
    drivable: tuple[str, ...] = BINARY_CLASSES[1:]
    indexed: bool = False
    licence: str = ""
    attribution: str = ""

    @property
    def classes_of(self) -> ClassesOf:
        """What reads a mask."""
        if len(self.classes) == 2 and not self.indexed:
            return binary_mask
        return partial(index_mask, class_count=len(self.classes), ignores=self.indexed)


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: images uint8 (N, H, W, C), masks uint8 (N, H, W) of class indices and IGNORE, N stems.

    With two classes, 1 = drivable. `groups` are the stems' sequences, or empty where none are known.
    """

    images: Pixels
    masks: Pixels
    stems: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stems)

    def joined(self, other: Split) -> Split:
        """Append another part's pictures, of the same size; those without a sequence are in one called ""."""
        return Split(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.masks, other.masks]),
            (*self.stems, *other.stems),
            (*self.groups, *(other.groups or ("",) * len(other))) if self.groups else (),
        )

    @property
    def sha256(self) -> str:
        """Hash of stems, images and masks as the model sees them."""
        digest = hashlib.sha256("\n".join(self.stems).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.masks).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test parts; `name` is the root folder's name, or "terrain".

    `source` is how to get the same data again: kind "folder" with root, or "terrain" with counts and seed. `classes`
    are names in the order of the indices in the masks, `drivable` those of them that count as drivable. `licence` and
    `attribution` say on what terms the data are, empty where nobody has.
    """

    name: str
    source: Mapping[str, Any]
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...] = BINARY_CLASSES
    drivable: tuple[str, ...] = BINARY_CLASSES[1:]
    licence: str = ""
    attribution: str = ""

    @property
    def validation(self) -> Split | None:
        """The validation part, or None where it is trained on."""
        return self.val if len(self.val) else None

    def with_validation(self) -> Dataset:
        """Give the training part the validation part's pictures, as val_STEM, and leave that empty.

        Raises DataError where a training picture has such a name.
        """
        val = self.validation
        if val is None:
            return self
        named = replace(val, stems=tuple(f"val_{stem}" for stem in val.stems))
        if taken := sorted({*named.stems} & {*self.train.stems}):
            raise DataError(f"two pictures would be {shown(taken[0])}: of train, and of val", hint="rename one")
        return replace(self, train=self.train.joined(named), val=Split(val.images[:0], val.masks[:0], ()))

    def describe(self) -> dict[str, Any]:
        """Return what a manifest records: name, source, terms, classes, count and hash per part; JSON types only."""
        parts = {name: getattr(self, name) for name in SPLITS}
        hashes = {name: {"count": len(part), "sha256": part.sha256} for name, part in parts.items()}
        classes = {"classes": list(self.classes), "drivable": list(self.drivable)}
        terms = {"licence": self.licence, "attribution": self.attribution}
        said = {key: text for key, text in terms.items() if text}
        return {"name": self.name, "source": dict(self.source), **said, **classes, **hashes}


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Read all three parts of a folder data set. Raises DataError naming the folder or file and what is wrong."""
    source = {"kind": "folder", "root": str(spec.root.absolute())}
    count = FileCount()
    train, val, test = (load_split(spec, split, count) for split in SPLITS)
    card = read_card(spec.root)
    _LOG.log(logging.WARNING if count.skipped else logging.INFO, "%s: %s", spec.root, count)
    if not card.drivable:
        _LOG.warning("%s: no class counts as drivable: name one in %s as drivable", spec.root, CARD)
    about = (card.classes, card.drivable, card.licence, card.attribution)
    return Dataset(spec.root.resolve().name, source, train, val, test, *about)


def read_card(root: Path) -> DatasetCard:
    """Read ROOT/dataset.json, or return the default where there is none. Raises DataError where it is damaged."""
    path = root / CARD
    if not path.is_file():
        return DatasetCard()
    hint = "prepare the data set again, or correct the file"
    try:
        card = read_json(path, CARD_BYTES)
        schema, stated, groups = card["schema"], card.get("classes", list(BINARY_CLASSES)), card.get("groups", {})
        resize_filter = str(card.get("prepared", {}).get("resize_filter", ""))
        terms = [card.get(key, "") for key in ("licence", "attribution")]
        names = [*stated, *groups.values(), *terms] if isinstance(stated, list) else [None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {printable(str(error), 200)}", hint=hint) from error
    if unknown := card.keys() - _CARD_KEYS:
        raise DataError(f"{path}: unknown key {shown(min(unknown))}", hint=f"keys are {', '.join(_CARD_KEYS)}")
    if type(schema) is not int or schema not in (1, CARD_SCHEMA):
        raise DataError(f"{path} has schema {shown(schema)}, not {CARD_SCHEMA}", hint=hint)
    if not all(isinstance(name, str) for name in names) or not 2 <= len(stated) <= MAX_CLASSES:
        raise DataError(f"{path} has not 2 to {MAX_CLASSES} classes, or a name that is no text", hint=hint)
    if max(map(len, terms)) > MAX_TERMS:
        raise DataError(f"{path}: licence or attribution has more than {MAX_TERMS} characters", hint=hint)
    if card.get("ignore", IGNORE) != IGNORE:
        raise DataError(f"{path}: ignore is {shown(card['ignore'])}, which can be {IGNORE} only", hint=hint)
    classes = tuple(stated)
    check_names(path, classes)
    drivable = drivable_names(path, classes, card.get("drivable"))
    composed = {unicodedata.normalize("NFC", stem): group for stem, group in groups.items()}
    return DatasetCard(classes, composed, resize_filter, drivable, schema > 1, *terms)


def terrain_dataset(
    counts: Mapping[str, int], *, seed: int, height_px: int = 60, width_px: int = 80, channels: int = 3
) -> Dataset:
    """Render the embedded data set; `counts` gives the number of scenes for train, val and test.

    With one channel, scenes are made grey as `camera_pixels` makes pictures grey.
    """

    def part(name: str) -> Split:
        images, masks = terrain.generate(
            counts[name], seed=terrain.split_seed(seed, name), height_px=height_px, width_px=width_px
        )
        if channels == 1:
            images = np.stack([grey_pixels(image) for image in images])
        return Split(images, masks, tuple(f"terrain_{index:05d}" for index in range(counts[name])))

    source = {"kind": "terrain", "counts": dict(counts), "seed": seed}
    train, val, test = (part(name) for name in SPLITS)
    return Dataset("terrain", source, train, val, test)


def load_split(spec: DatasetSpec, split: str, count: FileCount | None = None) -> Split:
    """Read ROOT/SPLIT. Raises DataError where a folder, file or pair is missing, empty, unreadable or mismatched.

    `count` gets what was used and skipped.
    """
    if not spec.root.is_dir():
        raise DataError(f"no data set folder {spec.root}", hint="give a folder with train/, val/ and test/ in it")
    card, contract = read_card(spec.root), spec.contract
    if card.resize_filter not in ("", spec.resize_filter):
        raise DataError(
            f"{spec.root} was resized with {card.resize_filter}, the preprocessing contract says {spec.resize_filter}",
            hint=f"prepare it again with --filter {spec.resize_filter}, or train a model on it",
        )
    count = count if count is not None else FileCount()
    files = split_files(spec.root, split, count)
    images, masks, before = [], [], np.zeros(len(card.classes) + 1, np.int64)
    for image_path, mask_path in files.values():
        pair = read_pair(image_path, mask_path, card.classes_of)
        image, mask = pair.resized(contract, len(card.classes))
        images.append(image)
        masks.append(mask)
        before += pair.counts(len(card.classes))
        count.turned += pair.picture.orientation > 1
    stacked = np.stack(masks)
    after = count_classes(stacked, len(card.classes))
    _check_classes(spec.root / split / "mask", card.classes, after, whole=split == "train")
    for warning in lost_classes(card.classes, before, after, f"{spec.height_px}x{spec.width_px}"):
        _LOG.warning("%s: %s", spec.root / split, warning)
    count.used += len(files)
    groups = tuple(card.groups.get(stem, "") for stem in files)
    return Split(np.stack(images), stacked, tuple(files), groups if any(groups) else ())


def _check_classes(folder: Path, classes: tuple[str, ...], counts: Any, *, whole: bool) -> None:
    """Raise DataError where nothing is labelled; with `whole` also where all that is labelled is of one class."""
    present = np.flatnonzero(counts[:-1])
    if len(present) > 1 or (len(present) and not whole):
        return
    what = _one_class(classes, int(present[0])) if len(present) else f"ignored ({IGNORE})"
    raise DataError(
        f"every pixel of every mask in {folder} is {what}",
        hint=f"masks are 255 where drivable, 0 elsewhere, unless {CARD} names other classes",
    )


def _one_class(classes: tuple[str, ...], index: int) -> str:
    if classes == BINARY_CLASSES:
        return "drivable" if index else "not drivable"
    return f"of class {classes[index]}"


def split_files(root: Path, split: str, count: FileCount | None = None) -> dict[str, tuple[Path, Path]]:
    """Pair the image and mask files of ROOT/SPLIT by stem, in its order; `count` gets what was skipped.

    Raises DataError where a stem is in one folder alone.
    """
    folders = root / split / "img", root / split / "mask"
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}", hint="a data set is ROOT/{train,val,test}/{img,mask}/NAME.png")
    images, masks = (find_pictures(folder) for folder in folders)
    if count is not None:
        count.skipped += [*images.skipped, *masks.skipped]
    if not images.files:
        raise DataError(f"no images in {folders[0]}", hint=f"put {', '.join(SUFFIXES)} files there")
    for ours, theirs, lacking in ((images, masks, folders[1]), (masks, images, folders[0])):
        alone = sorted(ours.files.keys() - theirs.files.keys())
        if alone:
            listed = ", ".join(ours.files[stem].name for stem in alone[:3]) + (", ..." if len(alone) > 3 else "")
            raise DataError(
                f"{len(alone)} file(s) in {ours.files[alone[0]].parent} have no partner in {lacking}: {listed}",
                hint="an image and its mask have the same name up to the suffix",
            )
    return {stem: (images.files[stem], masks.files[stem]) for stem in sorted(images.files)}
