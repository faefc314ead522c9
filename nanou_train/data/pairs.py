"""Find picture files, and read pairs of an image and its mask: the one reader of every command."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable
from nanou_train.data.images import IGNORE, SUFFIXES, Picture, Pixels, camera_pixels, read_picture, vote
from nanou_train.errors import DataError

if TYPE_CHECKING:
    from codegen.graph.model import Preprocessing

_SHOWN = 3
_TAG = "CACHEDIR.TAG"  # in folders that a program has made and may remove, no file of anybody's
Counts = npt.NDArray[np.int64]
ClassesOf = Callable[[Picture], Pixels]  # a mask's class indices uint8 (H, W), IGNORE among them


@dataclass(frozen=True)
class PictureFiles:
    """Picture files by name, their path without suffix in Unicode's composed form; what else is there, and why not."""

    files: Mapping[str, Path]
    skipped: tuple[tuple[str, Path], ...] = ()  # the reason, the file


@dataclass
class FileCount:
    """How many pairs a command used, how many images of them were turned upright, and what it skipped."""

    used: int = 0
    turned: int = 0
    skipped: list[tuple[str, Path]] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.used} pairs of image and mask used"]
        if self.turned:
            parts.append(f"{self.turned} images turned upright by their orientation tag")
        if self.skipped:
            parts.append(skipped_in_words(self.skipped))
        return "; ".join(parts)

    def as_json(self) -> dict[str, object]:
        skipped = [{"file": str(path), "reason": reason} for reason, path in self.skipped]
        return {"used": self.used, "turned": self.turned, "skipped": skipped}


def skipped_in_words(skipped: Sequence[tuple[str, Path]]) -> str:
    """Say how many files were skipped for each reason, and name the first of them."""
    said = []
    for reason, count in Counter(reason for reason, _ in skipped).items():
        names = [printable(path.name, 40) for why, path in skipped if why == reason][:_SHOWN]
        said.append(f"{count} {reason} ({', '.join(names)}{', ...' if count > _SHOWN else ''})")
    return f"{len(skipped)} {'file' if len(skipped) == 1 else 'files'} skipped: {', '.join(said)}"


def find_pictures(
    folder: Path, *, deep: bool = False, suffix: str = "", skip: Callable[[Path], str] = lambda _path: ""
) -> PictureFiles:
    """List the picture files of a folder, or below it if `deep`, by name, without `suffix` at the name's end.

    `skip` gives a reason to leave a file out. Raises DataError for two files of one name.
    """
    paths, skipped = picture_paths(folder, deep=deep)
    found: dict[str, Path] = {}
    for path in paths:
        name = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        if reason := skip(path) or ("" if name.endswith(suffix) else f"without {suffix}"):
            skipped.append((reason, path))
            continue
        name = name.removesuffix(suffix)
        if name in found:
            raise DataError(
                f"{found[name]} and {path} have the same name up to the suffix",
                hint="rename one; names that look alike may differ in how accents are stored",
            )
        found[name] = path
    return PictureFiles(found, tuple(skipped))


def picture_paths(folder: Path, *, deep: bool = False) -> tuple[list[Path], list[tuple[str, Path]]]:
    """List the picture files of a folder, or below it if `deep`, and what else is there with the reason for each.

    Raises DataError where the folder cannot be read.
    """
    try:
        paths = sorted(folder.rglob("*") if deep else folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}", hint="check its rights") from error
    files = [path for path in paths if not path.is_dir() and path.name != _TAG]
    reasons = {path: reason for path in files if (reason := _unusable(path))}
    below = [] if deep else [path for path in paths if path.is_dir() and not path.name.startswith(".")]
    skipped = [*((reason, path) for path, reason in reasons.items()), *(("subfolder(s)", path) for path in below)]
    return [path for path in files if path not in reasons], skipped


def _unusable(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.suffix.lower() not in SUFFIXES:
        return "of no known picture suffix"
    return "" if path.is_file() else "no regular file"  # a pipe, a device, a link to nowhere


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair at its own size. `classes` is uint8 (H, W) of class indices."""

    picture: Picture
    classes: Pixels

    def resized(self, contract: Preprocessing, class_count: int) -> tuple[Pixels, Pixels]:
        """Bring both to the contract's size: pixels uint8 (H, W, channels) and class indices uint8 (H, W)."""
        return camera_pixels(self.picture, contract), vote(self.classes, class_count, contract)

    def counts(self, class_count: int) -> Counts:
        """Count the pixels of each class, those that are ignored last."""
        return count_classes(self.classes, class_count)


def read_pair(image_path: Path, mask_path: Path, classes_of: ClassesOf, *, upright: bool = True) -> Pair:
    """Read an image and its mask. Raises DataError where either cannot be used, or they do not have one size."""
    picture = read_picture(image_path, upright=upright)
    return Pair(picture, classes_of(read_mask(mask_path, picture, upright=upright)))


def read_mask(path: Path, picture: Picture, *, upright: bool) -> Picture:
    """Read the mask of a picture. Raises DataError as `read_pair`."""
    mask = read_picture(path, upright=upright)
    _check_turned(picture, mask)
    check_size(picture, mask.image.size, f"its mask {path}")
    return mask


def _check_turned(picture: Picture, mask: Picture) -> None:
    """Raise DataError where a mask has an orientation tag of its own: the program that drew it may have kept it."""
    if mask.orientation in (1, picture.orientation):
        return
    tag = f"the orientation tag {picture.orientation}" if picture.orientation > 1 else "none"
    raise DataError(
        f"the mask {mask.path} has the orientation tag {mask.orientation}, {picture.path} has {tag}",
        hint="save masks without that tag; `nanou-deploy prepare --ignore-orientation` takes all as they are stored",
    )


def check_size(picture: Picture, size_px: tuple[int, int], whose: str) -> None:
    """Raise DataError where what belongs to a picture has another width and height."""
    image = picture.image
    if image.size == size_px:
        return
    turned = f", turned by its orientation tag ({picture.orientation})" if picture.orientation > 1 else ""
    raise DataError(
        f"{picture.path} is {image.width}x{image.height}{turned}, {whose} is {size_px[0]}x{size_px[1]}",
        hint="where masks were drawn on pictures as they are stored, `nanou-deploy prepare --ignore-orientation`"
        if turned
        else "export it at the image's size",
    )


def count_classes(classes: Pixels, class_count: int) -> Counts:
    """Count the pixels of each class of uint8 indices: int64 (C + 1), those that are ignored last."""
    counted = np.bincount(classes.reshape(-1), minlength=IGNORE + 1)
    return np.append(counted[:class_count], counted[IGNORE])


def lost_classes(names: Sequence[str], before: Counts, after: Counts, size: str) -> tuple[str, ...]:
    """Warn of each class that loses more than half of its share of pixels in resizing; counts as `count_classes`."""
    said = []
    shares = before / max(1, before.sum()), after / max(1, after.sum())
    for index, name in enumerate(names):
        if before[index] and 2 * shares[1][index] < shares[0][index]:
            left = f"{shares[1][index]:.3%}" if after[index] else "none"
            said.append(
                f"class {name} is {shares[0][index]:.3%} of all pixels in the masks, and {left} at {size}: too thin"
            )
    return tuple(said)
