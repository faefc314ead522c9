"""Data sets: folders of images and masks, and the embedded terrain.

A folder data set is ROOT/{train,val,test}/{img,mask}/STEM.{png,jpg,jpeg}. An image and its mask share a stem and a
size. Images of any size are squeezed (not cropped) to the model's size with Pillow's BOX filter, which averages
areas; masks are first split at 128 (below = not drivable), averaged by the same filter and split at one half.
A mask is one channel (or RGB with three equal ones) of 0 and 255; palette and colour masks are errors, because a
class number is not a decision about what is drivable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train import terrain
from nanou_train.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = npt.NDArray[np.uint8]
SPLITS = ("train", "val", "test")
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class DatasetSpec:
    """Where a folder data set is and the size that its images get."""

    root: Path
    height_px: int = 60
    width_px: int = 80


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: images uint8 (N, H, W, 3) RGB, masks uint8 (N, H, W) with 1 = drivable, N stems."""

    images: Pixels
    masks: Pixels
    stems: tuple[str, ...]

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

    `source` is how to get the same data again: kind "folder" with root, or "terrain" with counts and seed.
    """

    name: str
    source: Mapping[str, Any]
    train: Split
    val: Split
    test: Split

    def describe(self) -> dict[str, Any]:
        """What a manifest records: name, source, and count and hash per part; JSON types only."""
        parts = {name: getattr(self, name) for name in SPLITS}
        hashes = {name: {"count": len(part), "sha256": part.sha256} for name, part in parts.items()}
        return {"name": self.name, "source": dict(self.source), **hashes}


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Read all three parts of a folder data set. Raises DataError naming the folder or file and what is wrong."""
    source = {"kind": "folder", "root": str(spec.root)}
    return Dataset(spec.root.resolve().name, source, *(load_split(spec, split) for split in SPLITS))


def terrain_dataset(counts: Mapping[str, int], *, seed: int, height_px: int = 60, width_px: int = 80) -> Dataset:
    """Render the embedded data set; `counts` gives the number of scenes for train, val and test."""

    def part(name: str) -> Split:
        images, masks = terrain.generate(
            counts[name], seed=terrain.split_seed(seed, name), height_px=height_px, width_px=width_px
        )
        return Split(images, masks, tuple(f"terrain_{index:05d}" for index in range(counts[name])))

    source = {"kind": "terrain", "counts": dict(counts), "seed": seed}
    return Dataset("terrain", source, *(part(name) for name in SPLITS))


def load_split(spec: DatasetSpec, split: str) -> Split:
    """Read ROOT/SPLIT. Raises DataError where a folder, file or pair is missing, empty, unreadable or mismatched."""
    if not spec.root.is_dir():
        raise DataError(f"no data set folder {spec.root}", hint="give a folder with train/, val/ and test/ in it")
    images, masks = _files(spec.root / split / "img"), _files(spec.root / split / "mask")
    for ours, theirs, lacking in ((images, masks, "mask"), (masks, images, "img")):
        alone = sorted(ours.keys() - theirs.keys())
        if alone:
            shown = ", ".join(ours[stem].name for stem in alone[:3]) + (", ..." if len(alone) > 3 else "")
            raise DataError(
                f"{len(alone)} file(s) in {ours[alone[0]].parent} have no partner in {spec.root / split / lacking}: "
                f"{shown}",
                hint="an image and its mask have the same name up to the suffix",
            )
    stems = tuple(sorted(images))
    pairs = [_read_pair(images[stem], masks[stem], spec) for stem in stems]
    stacked = np.stack([mask for _, mask in pairs])
    if split == "train" and stacked.min() == stacked.max():
        raise DataError(
            f"every pixel of every mask in {spec.root / split / 'mask'} is {'' if stacked.max() else 'not '}drivable",
            hint="masks are 255 where drivable, 0 elsewhere",
        )
    return Split(np.stack([image for image, _ in pairs]), stacked, stems)


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


def _read_pair(image_path: Path, mask_path: Path, spec: DatasetSpec) -> tuple[Pixels, Pixels]:
    from PIL import Image

    image, mask = _open(image_path), _open(mask_path)
    if image.size != mask.size:
        raise DataError(
            f"{image_path} is {image.width}x{image.height}, its mask {mask_path} is {mask.width}x{mask.height}",
            hint="export the mask at the image's size",
        )
    size = (spec.width_px, spec.height_px)
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), np.uint8)
    split = Image.fromarray(_mask_values(mask, mask_path))
    drivable = np.asarray(split.resize(size, Image.Resampling.BOX), np.uint8) >= 128
    return pixels, drivable.astype(np.uint8)


def _open(path: Path) -> Image:
    """A loaded image, turned upright where the camera noted its orientation."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {path} as an image: {error}", hint="remove it or save it again") from error
    return upright


def _mask_values(mask: Image, path: Path) -> Pixels:
    """uint8 (H, W) of 0 and 255."""
    hint = "save it with one 8-bit channel: 255 where drivable, 0 elsewhere"
    values = np.asarray(mask)
    if mask.mode == "RGB" and bool((values == values[..., :1]).all()):
        values = values[..., 0]
    elif mask.mode == "1":
        values = values.astype(np.uint8) * np.uint8(255)
    elif mask.mode != "L":
        raise DataError(f"mask {path} has Pillow mode {mask.mode}, not one 8-bit channel", hint=hint)
    top = int(values.max(initial=0))
    if 0 < top < 128:
        raise DataError(f"mask {path} has values up to {top}: class numbers, not 0 and 255", hint=hint)
    return np.where(values >= 128, np.uint8(255), np.uint8(0))
