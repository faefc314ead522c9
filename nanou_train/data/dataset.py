"""Load data sets: folders of images and masks, and the embedded terrain.

A folder data set is ROOT/{train,val,test}/{img,mask}/STEM.{png,jpg,jpeg}. An image and its mask share a stem and a
size. Images of any size are squeezed (not cropped) to the model's size by the filter of the preprocessing contract;
of masks, each class's share is resized by the same filter and the greatest wins (nanou_train.data.images.vote).

Without more, a mask is one channel (or RGB with three equal ones) of 0 and 255, 255 = drivable. ROOT/dataset.json,
which `nanou-deploy prepare` writes, can name other classes and the sequence that each image belongs to; the masks of
more than two classes then hold class indices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.graph.model import Preprocessing
from nanou_train.data import terrain
from nanou_train.data.images import SUFFIXES, Pixels, camera_pixels, grey_pixels, open_image, vote
from nanou_train.data.labels import BINARY_CLASSES, MAX_CLASSES, binary_mask, drivable_names
from nanou_train.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "val", "test")
CARD = "dataset.json"
CARD_SCHEMA = 1


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
    empty where the images are as the camera gave them.
    """

    classes: tuple[str, ...] = BINARY_CLASSES
    groups: Mapping[str, str] = field(default_factory=dict)
    resize_filter: str = ""
    drivable: tuple[str, ...] = BINARY_CLASSES[1:]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: images uint8 (N, H, W, C), masks uint8 (N, H, W) of class indices, N stems.

    With two classes, 1 = drivable. `groups` are the stems' sequences, or empty where none are known.
    """

    images: Pixels
    masks: Pixels
    stems: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stems)

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
    are names in the order of the indices in the masks, `drivable` those of them that count as drivable.
    """

    name: str
    source: Mapping[str, Any]
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...] = BINARY_CLASSES
    drivable: tuple[str, ...] = BINARY_CLASSES[1:]

    def describe(self) -> dict[str, Any]:
        """Return what a manifest records: name, source, classes, and count and hash per part; JSON types only."""
        parts = {name: getattr(self, name) for name in SPLITS}
        hashes = {name: {"count": len(part), "sha256": part.sha256} for name, part in parts.items()}
        classes = {"classes": list(self.classes), "drivable": list(self.drivable)}
        return {"name": self.name, "source": dict(self.source), **classes, **hashes}


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Read all three parts of a folder data set. Raises DataError naming the folder or file and what is wrong."""
    source = {"kind": "folder", "root": str(spec.root)}
    train, val, test = (load_split(spec, split) for split in SPLITS)
    card = read_card(spec.root)
    return Dataset(spec.root.resolve().name, source, train, val, test, card.classes, card.drivable)


def read_card(root: Path) -> DatasetCard:
    """Read ROOT/dataset.json, or return the default where there is none. Raises DataError where it is damaged."""
    path = root / CARD
    if not path.is_file():
        return DatasetCard()
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        classes, groups = tuple(card.get("classes", BINARY_CLASSES)), dict(card.get("groups", {}))
        resize_filter = str(card.get("prepared", {}).get("resize_filter", ""))
        wrong = "" if card["schema"] == CARD_SCHEMA else f"has schema {card['schema']}, not {CARD_SCHEMA}"
        if not 2 <= len(classes) <= MAX_CLASSES or not all(isinstance(x, str) for x in (*classes, *groups.values())):
            wrong = f"has not 2 to {MAX_CLASSES} classes, or a name that is no text"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged: {error!r}", hint="prepare the data set again, or delete the file"
        ) from error
    if wrong:
        raise DataError(f"{path} {wrong}", hint="prepare the data set again")
    return DatasetCard(classes, groups, resize_filter, drivable_names(path, classes, card.get("drivable")))


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


def load_split(spec: DatasetSpec, split: str) -> Split:
    """Read ROOT/SPLIT. Raises DataError where a folder, file or pair is missing, empty, unreadable or mismatched."""
    if not spec.root.is_dir():
        raise DataError(f"no data set folder {spec.root}", hint="give a folder with train/, val/ and test/ in it")
    card = read_card(spec.root)
    if card.resize_filter not in ("", spec.resize_filter):
        raise DataError(
            f"{spec.root} was resized with {card.resize_filter}, the preprocessing contract says {spec.resize_filter}",
            hint=f"prepare it again with --filter {spec.resize_filter}, or train a model on it",
        )
    images, masks = split_files(spec.root, split)
    stems = tuple(sorted(images))
    pairs = [_read_pair(images[stem], masks[stem], spec.contract, len(card.classes)) for stem in stems]
    stacked = np.stack([mask for _, mask in pairs])
    if split == "train" and stacked.min() == stacked.max():
        raise DataError(
            f"every pixel of every mask in {spec.root / split / 'mask'} is {_one_class(card.classes, stacked.max())}",
            hint="masks are 255 where drivable, 0 elsewhere, unless dataset.json names other classes",
        )
    groups = tuple(card.groups.get(stem, "") for stem in stems)
    return Split(np.stack([image for image, _ in pairs]), stacked, stems, groups if any(groups) else ())


def _one_class(classes: tuple[str, ...], index: int) -> str:
    if classes == BINARY_CLASSES:
        return "drivable" if index else "not drivable"
    return f"of class {classes[index]}"


def split_files(root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Find image and mask files of ROOT/SPLIT by stem, the same stems in both. Raises DataError."""
    images, masks = _files(root / split / "img"), _files(root / split / "mask")
    for ours, theirs, lacking in ((images, masks, "mask"), (masks, images, "img")):
        alone = sorted(ours.keys() - theirs.keys())
        if alone:
            shown = ", ".join(ours[stem].name for stem in alone[:3]) + (", ..." if len(alone) > 3 else "")
            raise DataError(
                f"{len(alone)} file(s) in {ours[alone[0]].parent} have no partner in {root / split / lacking}: {shown}",
                hint="an image and its mask have the same name up to the suffix",
            )
    return images, masks


def _files(folder: Path) -> dict[str, Path]:
    """Image files of a folder by stem."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint="a data set is ROOT/{train,val,test}/{img,mask}/NAME.png")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{found[path.stem].name} and {path.name} in {folder} have the same stem", hint="rename one"
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"no images in {folder}", hint=f"put {', '.join(SUFFIXES)} files there")
    return found


def _read_pair(image_path: Path, mask_path: Path, contract: Preprocessing, class_count: int) -> tuple[Pixels, Pixels]:
    image, mask = open_image(image_path), open_image(mask_path)
    check_pair(image, image_path, mask, mask_path)
    classes = mask_classes(mask, mask_path, class_count)
    return camera_pixels(image, image_path, contract), vote(classes, class_count, contract)


def check_pair(image: Image, image_path: Path, mask: Image, mask_path: Path) -> None:
    """Raise DataError where an image and its mask do not have one size."""
    if image.size != mask.size:
        raise DataError(
            f"{image_path} is {image.width}x{image.height}, its mask {mask_path} is {mask.width}x{mask.height}",
            hint="export the mask at the image's size",
        )


def mask_classes(mask: Image, path: Path, class_count: int) -> Pixels:
    """Read class indices uint8 (H, W) from a mask: 0 and 255 of two classes, else indices (grey or palette)."""
    if class_count == 2:
        return binary_mask(mask, path)
    if mask.mode not in ("L", "P"):
        raise DataError(
            f"mask {path} has Pillow mode {mask.mode}, not one channel of class indices",
            hint="`nanou-deploy prepare --label-map` turns colours into indices",
        )
    values = np.asarray(mask, np.uint8)
    top = int(values.max(initial=0))
    if top >= class_count:
        raise DataError(
            f"mask {path} has the value {top}, {CARD} names {class_count} classes (0 to {class_count - 1})",
            hint=f"add the class to {CARD}, or prepare the data set again",
        )
    return values
