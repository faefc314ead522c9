"""Audit a data set: class balance, duplicates, and images that leak across splits.

Exact duplicates have the same SHA-256 of decoded RGB pixels. Near-duplicates are found with a difference hash
(N. Krawetz, "Kind of Like That", 2013) of 128 bits: the signs of the differences between horizontal neighbours of the
grey image averaged to 9x8 pixels, and between vertical ones of 8x9. Pairs whose hashes differ in few bits are confirmed
by the correlation of their 16x16 thumbnails. A pair inside one split is normal in video; a pair across splits lets a
model be tested on what it has seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nanou_train.data.dataset import SPLITS, read_card, split_files
from nanou_train.data.images import Pixels, check_depth
from nanou_train.data.pairs import FileCount, read_pair, skipped_in_words
from nanou_train.data.splits import group_names
from nanou_train.errors import DataError

MAX_DISTANCE_BITS = 20
MIN_CORRELATION = 0.95
_BLOCK = 512  # rows of the distance matrix at a time
_HASH_SIDE, _THUMB_SIDE = 8, 16


@dataclass(frozen=True)
class Fingerprint:
    """An image's path, SHA-256 of its decoded pixels, 128 perceptual hash bits, and normalized 16x16 thumbnail."""

    split: str
    stem: str
    sha256: str
    bits: npt.NDArray[np.bool_]
    thumbnail: npt.NDArray[np.float32]

    @property
    def label(self) -> str:
        return f"{self.split}/{self.stem}"


@dataclass(frozen=True)
class Pair:
    """Two images that are alike; `distance_bits` of 128, correlation of thumbnails in -1..1."""

    first: str
    second: str
    distance_bits: int
    correlation: float


@dataclass(frozen=True)
class SplitBalance:
    """One split: pixels of each class over all masks, in how many images each occurs, and pixels that are ignored."""

    split: str
    images: int
    groups: int
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...]
    ignored_pixels: int = 0

    @property
    def class_shares(self) -> tuple[float, ...]:
        """Shares of what is labelled."""
        total = sum(self.class_pixels) or 1
        return tuple(pixels / total for pixels in self.class_pixels)

    @property
    def ignored_share(self) -> float:
        return self.ignored_pixels / (self.ignored_pixels + sum(self.class_pixels))


@dataclass(frozen=True)
class Audit:
    """The findings of `audit_dataset`. `leaks`: whether anything is in two splits; the test set is honest if not."""

    classes: tuple[str, ...]
    balance: tuple[SplitBalance, ...]
    sizes_px: dict[str, int]  # "80x60" (width x height) -> images
    duplicates: tuple[Pair, ...]  # exact, anywhere
    duplicates_across: tuple[Pair, ...]  # exact, across splits
    near_duplicates_across: tuple[Pair, ...]
    groups_across: dict[str, tuple[str, ...]]  # group -> the splits that it is in
    warnings: tuple[str, ...]
    drivable: tuple[str, ...] = ()

    @property
    def leaks(self) -> bool:
        return bool(self.duplicates_across or self.near_duplicates_across or self.groups_across)


def audit_dataset(root: Path, *, group_by: str = "", max_distance_bits: int = MAX_DISTANCE_BITS) -> Audit:
    """Read every image and mask of ROOT, at its own size. Raises DataError for the first that cannot be used.

    Groups are those of dataset.json, or of `group_by` (see splits.group_names) where it is given.
    """
    if not root.is_dir():
        raise DataError(f"no data set folder {root}", hint="give a folder with train/, val/ and test/ in it")
    card = read_card(root)
    prints: list[Fingerprint] = []
    balance: list[SplitBalance] = []
    sizes: Counter[str] = Counter()
    groups: dict[str, str] = {}
    files = FileCount()
    for split in SPLITS:
        pairs = split_files(root, split, files)
        named = group_names(pairs, group_by).groups if group_by else card.groups
        counts = []
        for stem, paths in pairs.items():
            pair = read_pair(*paths, card.classes_of)
            check_depth(pair.picture)
            image = pair.picture.image
            sizes[f"{image.width}x{image.height}"] += 1
            prints.append(fingerprint(split, stem, np.asarray(image.convert("RGB"), np.uint8)))
            counts.append(pair.counts(len(card.classes)))
            if stem in named:
                groups[f"{split}/{stem}"] = named[stem]
        table = np.stack(counts)
        occupied = len({group for label, group in groups.items() if label.startswith(f"{split}/")})
        *pixels, ignored = table.sum(axis=0).tolist()
        present = (table[:, :-1] > 0).sum(axis=0).tolist()
        balance.append(SplitBalance(split, len(pairs), occupied, tuple(pixels), tuple(present), ignored))
    exact, near = exact_duplicates(prints), near_duplicates(prints, max_distance_bits)
    return Audit(
        card.classes,
        tuple(balance),
        dict(sizes.most_common()),
        exact,
        tuple(pair for pair in exact if crosses(pair)),
        near,
        _groups_across(groups),
        _warnings(card.classes, card.drivable, balance, sizes, bool(groups), files),
        card.drivable,
    )


def fingerprint(split: str, stem: str, pixels: Pixels) -> Fingerprint:
    """Compute the fingerprint of an image uint8 (H, W, 3)."""
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L")

    def shrunk(width: int, height: int) -> npt.NDArray[np.float32]:
        return np.asarray(grey.resize((width, height), Image.Resampling.BOX), np.float32)

    across, down = shrunk(_HASH_SIDE + 1, _HASH_SIDE), shrunk(_HASH_SIDE, _HASH_SIDE + 1)
    bits = np.concatenate([(np.diff(across, axis=1) > 0).reshape(-1), (np.diff(down, axis=0) > 0).reshape(-1)])
    thumbnail = shrunk(_THUMB_SIDE, _THUMB_SIDE).reshape(-1)
    centred = thumbnail - thumbnail.mean()
    digest = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return Fingerprint(split, stem, digest, bits, centred / max(float(np.linalg.norm(centred)), 1e-6))


def exact_duplicates(prints: Sequence[Fingerprint]) -> tuple[Pair, ...]:
    """Pair each image that repeats an earlier one with that one; repetitions in another split come first."""
    seen: dict[str, list[Fingerprint]] = {}
    pairs = []
    for one in prints:
        earlier = seen.setdefault(one.sha256, [])
        other = next((old for old in earlier if old.split != one.split), earlier[0] if earlier else None)
        if other is not None:
            pairs.append(Pair(other.label, one.label, 0, 1.0))
        earlier.append(one)
    return tuple(pairs)


def near_duplicates(prints: Sequence[Fingerprint], max_distance_bits: int = MAX_DISTANCE_BITS) -> tuple[Pair, ...]:
    """Find pairs across splits that are alike without being equal, the most alike first."""
    if not prints:
        return ()
    bits = np.stack([one.bits for one in prints]).astype(np.float32)
    thumbnails = np.stack([one.thumbnail for one in prints])
    splits = np.array([one.split for one in prints])
    found = []
    for start in range(0, len(prints), _BLOCK):
        block = slice(start, start + _BLOCK)
        # Hamming distance as products: a(1-b) + (1-a)b.
        distance = bits[block] @ (1 - bits.T) + (1 - bits[block]) @ bits.T
        correlation = thumbnails[block] @ thumbnails.T
        alike = (distance <= max_distance_bits) & (correlation >= MIN_CORRELATION)
        alike &= splits[block, None] != splits[None, :]
        for row, column in zip(*np.nonzero(alike), strict=True):
            one, other = prints[start + row], prints[column]
            if start + row < column and one.sha256 != other.sha256:
                figures = int(distance[row, column]), round(float(correlation[row, column]), 3)
                found.append(Pair(one.label, other.label, *figures))
    return tuple(sorted(found, key=lambda pair: (pair.distance_bits, -pair.correlation, pair.first, pair.second)))


def crosses(pair: Pair) -> bool:
    """Whether the two are in different splits."""
    return pair.first.split("/")[0] != pair.second.split("/")[0]


def _groups_across(groups: dict[str, str]) -> dict[str, tuple[str, ...]]:
    where: dict[str, dict[str, None]] = {}
    for label, group in groups.items():
        where.setdefault(group, {})[label.split("/")[0]] = None
    return {group: tuple(splits) for group, splits in sorted(where.items()) if len(splits) > 1}


def _warnings(
    classes: Sequence[str],
    drivable: Sequence[str],
    balance: Sequence[SplitBalance],
    sizes: Counter[str],
    grouped: bool,
    files: FileCount,
) -> tuple[str, ...]:
    found = []
    if files.skipped:
        found.append(skipped_in_words(files.skipped))
    if not drivable:
        found.append("no class counts as drivable; a label map names those that do as drivable: [NAME, ...]")
    for part in balance:
        for name, pixels in zip(classes, part.class_pixels, strict=True):
            if pixels == 0:
                found.append(f"class {name} has no pixel in {part.split}")
    if len(sizes) > 1:
        found.append(f"images have {len(sizes)} different sizes; each is squeezed to the model's")
    if not grouped:
        found.append("no sequences are known, so only look-alikes are found across splits; give --group-by")
    return tuple(found)
