"""Group images that belong together, and assign whole groups to the splits of a data set.

Frames of one drive look alike, so a random split by image measures memory, not vision. Groups (drives, sequences,
places) are therefore never divided: a whole group is for training, validation or testing.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.untrusted import read_bounded, shown
from nanou_train.data.dataset import SPLITS, Dataset
from nanou_train.data.images import SUFFIXES
from nanou_train.errors import DataError

DEFAULT_RATIOS = (0.7, 0.15, 0.15)
_TRIALS = 200
_MOST_CSV_BYTES = 64 << 20
_COLUMNS = ("image", "group", "split")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """The group of each name, and the split of those names whose split is already decided."""

    groups: Mapping[str, str]
    splits: Mapping[str, str]
    unused: tuple[str, ...] = ()  # what the file lists besides


def group_names(names: Iterable[str], group_by: str) -> Grouping:
    """Group names (paths without suffix, such as "drive_3/0017") by a pattern or a CSV file.

    A `group_by` that ends in .csv is read as a file with the column `image` and `group`, `split` or both. Any other is
    a regular expression, searched in each name: its groups, joined by "_", or else what it matches, name the group.
    An empty one makes each image a group of its own. Raises DataError for a name without group.
    """
    if group_by.lower().endswith(".csv"):
        return _from_csv(tuple(names), Path(group_by))
    if not group_by:
        return Grouping({name: name for name in names}, {})
    try:
        pattern = re.compile(unicodedata.normalize("NFC", group_by))  # as names are
    except re.error as error:
        raise DataError(f"--group-by {shown(group_by)} is no regular expression: {error}", hint="escape it") from error
    groups = {}
    for name in names:
        match = pattern.search(unicodedata.normalize("NFC", name))
        if match is None:
            raise DataError(
                f"--group-by {shown(group_by)} matches nothing in {shown(name)}",
                hint="the pattern has to match every image's path, without suffix, below the images folder",
            )
        groups[name] = "_".join(part or "" for part in match.groups()) or match[0]
    _check_alike(f"--group-by {shown(group_by)}", groups)
    return Grouping(groups, {})


def regrouped(dataset: Dataset, group_by: str) -> Dataset:
    """Give a data set the sequences that `group_by` names, as `group_names` reads it; without one those it has."""
    if not group_by:
        return dataset
    parts = {}
    for name in SPLITS:
        part = getattr(dataset, name)
        groups = group_names(part.stems, group_by).groups
        parts[name] = replace(part, groups=tuple(groups[stem] for stem in part.stems))
    return replace(dataset, **parts)


def _check_alike(where: str, groups: Mapping[str, str]) -> None:
    """Raise DataError for groups that differ in upper and lower case alone: they may be one, and be divided."""
    spelled: dict[str, str] = {}
    for name, group in groups.items():
        other = spelled.setdefault(group.casefold(), group)
        if other != group and group != name:
            raise DataError(
                f"{where}: the groups {shown(other)} and {shown(group)} differ in case alone", hint="write them alike"
            )


def _from_csv(names: tuple[str, ...], path: Path) -> Grouping:
    found = _rows(path)
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{path} does not list {len(missing)} image(s): {shown(', '.join(missing[:3]))}; it lists"
            f" {shown(', '.join([*found][:3]) or 'none')}",
            hint="add the rows; an image is its path below the images folder",
        )
    groups = {name: (found[name].get("group") or name) for name in names}
    splits = {name: found[name]["split"] for name in names if found[name].get("split")}
    if unknown := sorted(set(splits.values()) - set(SPLITS)):
        raise DataError(f"{path}: {shown(unknown[0])} is no split", hint=f"use {', '.join(SPLITS)}, or leave it empty")
    if splits and len(splits) < len(names):
        raise DataError(f"{path} gives a split to {len(splits)} of {len(names)} images", hint="to all or to none")
    without = [name for name in names if not found[name].get("group")]
    if not splits and 0 < len(without) < len(names):
        raise DataError(
            f"{path} gives no group to {len(without)} of {len(names)} images: {shown(', '.join(without[:3]))}",
            hint="write one in each row, or in none",
        )
    _check_alike(str(path), groups)
    return Grouping(groups, splits, tuple(sorted(found.keys() - set(names))))


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV file's rows by image, its name composed and without suffix. Raises DataError naming the row."""
    try:
        text = read_bounded(path, _MOST_CSV_BYTES).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="give a CSV file with a header line") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file: {error}", hint="save it as UTF-8, with a header line") from error
    columns = [name.strip() for name in rows[0]] if rows else []
    if "image" not in columns or not {"group", "split"} & {*columns} or len({*columns}) < len(columns):
        raise DataError(
            f"{path} has the columns {shown(', '.join(columns) or 'none')}",
            hint="it needs `image`, and `group`, `split` or both, once each, separated by commas",
        )
    found: dict[str, dict[str, str]] = {}
    for number, values in enumerate(rows[1:], 2):
        if not any(value.strip() for value in values):
            continue
        row = {name: value.strip() for name, value in zip(columns, values, strict=False) if name in _COLUMNS}
        if len(values) != len(columns) or not row["image"]:
            raise DataError(
                f"{path}, row {number} has {len(values)} fields, the header {len(columns)}: {shown(','.join(values))}"
                if row.get("image")
                else f"{path}, row {number} names no image",
                hint="write each row as the header is; a value with a comma needs quotes",
            )
        row = {name: unicodedata.normalize("NFC", value) for name, value in row.items()}
        name = _without_suffix(row.pop("image").replace("\\", "/"))
        if found.setdefault(name, row) != row:
            raise DataError(f"{path}, row {number} contradicts an earlier one of {shown(name)}", hint="keep one")
    return found


def _without_suffix(name: str) -> str:
    """Cut the suffix off, with or without which an image may be listed."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def assign(
    grouping: Grouping, class_pixels: Mapping[str, Counts], ratios: Sequence[float] = DEFAULT_RATIOS, *, seed: int = 0
) -> dict[str, str]:
    """Assign every name to a split; no group is divided.

    `class_pixels` is the number of pixels of each class (int64 (C,)) by name. Of 200 seeded greedy assignments, large
    groups first, the one is taken whose image counts and class shares are nearest to the ratios and to the whole set.
    Raises DataError where there are fewer groups than splits, or a given split divides a group.
    """
    if grouping.splits:
        return _given(grouping)
    members: dict[str, list[str]] = {}
    for name, group in sorted(grouping.groups.items()):
        members.setdefault(group, []).append(name)
    if len(members) < len(SPLITS):
        raise DataError(
            f"{len(members)} group(s) cannot fill {', '.join(SPLITS)}", hint="use a finer --group-by, or more drives"
        )
    sizes = np.array([len(names) for names in members.values()], np.float64)
    pixels = np.array([sum(class_pixels[name] for name in names) for names in members.values()], np.float64)
    shares = np.array(ratios) / sum(ratios)
    rng = np.random.default_rng(seed)
    candidates = [_greedy(sizes, shares, sizes * rng.uniform(0.5, 1.0, len(sizes))) for _ in range(_TRIALS)]
    best = min(candidates, key=lambda chosen: _cost(chosen, sizes, pixels, shares))
    return {name: SPLITS[split] for names, split in zip(members.values(), best, strict=True) for name in names}


def _greedy(sizes: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], order: npt.NDArray[np.float64]) -> Counts:
    """Assign groups to splits: in falling `order`, each goes where most images are missing; none stays empty."""
    missing, filled = shares * sizes.sum(), np.zeros(len(shares), bool)
    chosen = np.zeros(len(sizes), np.int64)
    queue = np.argsort(-order, kind="stable")
    for position, group in enumerate(queue):
        must_fill = len(queue) - position <= np.count_nonzero(~filled)
        split = int(np.argmax(np.where(filled & must_fill, -np.inf, missing)))
        chosen[group], filled[split] = split, True
        missing[split] -= sizes[group]
    return chosen


def _cost(
    chosen: Counts, sizes: npt.NDArray[np.float64], pixels: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]
) -> float:
    """Distance of image counts from the ratios plus mean distance of class shares from those of the whole set."""
    counts = np.bincount(chosen, sizes, len(shares)) / sizes.sum()
    inside = np.stack([pixels[chosen == split].sum(axis=0) for split in range(len(shares))])
    classes = inside / inside.sum(axis=1, keepdims=True)
    whole = pixels.sum(axis=0) / pixels.sum()
    return float(np.abs(counts - shares).sum() + np.abs(classes - whole).sum(axis=1).mean())


def _given(grouping: Grouping) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name, group in grouping.groups.items():
        split = grouping.splits[name]
        if seen.setdefault(group, split) != split:
            raise DataError(
                f"group {group} is in {seen[group]} and, with {name}, in {split}", hint="give a group one split"
            )
    if empty := [split for split in SPLITS if split not in grouping.splits.values()]:
        raise DataError(f"no image is given to {', '.join(empty)}", hint="give each split at least one group")
    return dict(grouping.splits)
