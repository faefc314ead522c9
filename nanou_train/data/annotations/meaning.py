"""Decide which class each label means: by the names of those that are drivable or ignored, or by a label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable
from nanou_train.data.annotations.annotation import Annotations
from nanou_train.data.annotations.labelme import IGNORED
from nanou_train.data.annotations.mask_files import BACKGROUND
from nanou_train.data.images import IGNORE, Pixels
from nanou_train.data.labels import BINARY_CLASSES, class_color, load_label_map
from nanou_train.errors import DataError

Unlabelled = Literal["background", "ignore"]
UNLABELLED = "unlabelled"  # in a label map: where no label is
VOID = 65535  # a label number: the format says that nobody has labelled the pixel
_LISTED = 20


@dataclass(frozen=True, eq=False)
class Meaning:
    """Class names, those that are drivable, a colour each, and the class of each label's number.

    `numbers` gives each label's; 0 is where no label is. `table` is uint8 by number, IGNORE among its values.
    """

    classes: tuple[str, ...]
    drivable: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    numbers: Mapping[str, int]
    table: Pixels

    def classes_of(self, numbers: npt.NDArray[np.uint16]) -> Pixels:
        """Turn label numbers, VOID among them, into class indices of the same shape."""
        return np.append(self.table, np.uint8(IGNORE))[np.minimum(numbers, len(self.table))]

    def labels_of(self, index: int) -> tuple[str, ...]:
        """Return the labels that mean a class, or IGNORE."""
        return tuple(label for label, number in self.numbers.items() if number and self.table[number] == index)


def label_numbers(annotations: Annotations) -> dict[str, int]:
    """Give labels their numbers from 1 on; the background of mask files is 0, as are pixels without a label."""
    plain = [label for label in annotations.labels if annotations.masks is None or label.casefold() not in BACKGROUND]
    return {label: 0 for label in annotations.labels if label not in plain} | {
        label: number for number, label in enumerate(plain, 1)
    }


def decide(
    annotations: Annotations,
    *,
    drivable: Sequence[str] = (),
    ignore: Sequence[str] = (),
    unlabelled: Unlabelled = "background",
    label_map: Path | None = None,
) -> Meaning:
    """Decide. Raises DataError that lists the labels which were found, where it is not certain what is meant.

    Without a label map there are two classes: labels of `drivable`, or the one called drivable, and all others.
    """
    numbers = label_numbers(annotations)
    if label_map is not None:
        if drivable or ignore:
            raise DataError("a label map says what is drivable and what is ignored", hint="give it, or these options")
        return _by_label_map(annotations, numbers, label_map)
    known = [label for label, number in numbers.items() if number]
    chosen = tuple(drivable) or tuple(label for label in known if label.casefold() == BINARY_CLASSES[1])
    ignored = {*ignore, *((IGNORED,) if IGNORED in known else ())}
    if unknown := [label for label in (*chosen, *ignore) if label not in known]:
        raise DataError(
            f"{annotations.format}: no label is called {printable(unknown[0], 60)}", hint=f"found: {found(annotations)}"
        )
    if both := ignored & {*chosen}:
        raise DataError(f"{printable(min(both), 60)} is both drivable and ignored", hint="name it once")
    if not chosen:
        example = next((label for label in known if label not in ignored), "NAME")
        raise DataError(
            f"which labels are drivable? {annotations.format} has {found(annotations)}",
            hint=f"for example --drivable {printable(example, 60)}, several by commas; --ignore NAME leaves out",
        )
    table = np.zeros(len(known) + 1, np.uint8)
    table[0] = 0 if unlabelled == "background" else IGNORE
    for label in known:
        table[numbers[label]] = IGNORE if label in ignored else label in chosen
    colors = (class_color(0), class_color(1))
    return Meaning(BINARY_CLASSES, BINARY_CLASSES[1:], colors, numbers, table)


def _by_label_map(annotations: Annotations, numbers: Mapping[str, int], path: Path) -> Meaning:
    names = {**numbers, **({} if UNLABELLED in numbers else {UNLABELLED: 0})}
    labels = load_label_map(path, names)
    unlisted = [name for name, number in names.items() if number not in labels.values]
    if unlisted and labels.default is None:
        raise DataError(
            f"{path} does not list {printable(', '.join(unlisted[:_LISTED]), 300)}",
            hint=f"list them, or name a class as default; {UNLABELLED} is where no label is",
        )
    table = np.array(
        [labels.values.get(number, labels.default) for number in range(max(numbers.values(), default=0) + 1)], np.uint8
    )
    return Meaning(labels.classes, labels.drivable, tuple(labels.palette()), numbers, table)


def found(annotations: Annotations) -> str:
    """List labels and on how many pictures each is."""
    counts = annotations.label_pictures
    if annotations.masks is not None:
        named = [name for name, number in label_numbers(annotations).items() if number]
    else:
        named = [f"{label} ({count})" for label, count in sorted(counts.items(), key=lambda one: -one[1])]
    return printable(", ".join(named[:_LISTED]), 600) + (", ..." if len(named) > _LISTED else "")
