"""Turn the values of mask files into class indices: by the 0-and-255 rule, or by a label map.

A label map is a YAML or JSON file. The order of its classes gives their indices; each lists the mask values that
mean it, either numbers (grey levels, palette indices, 16-bit labels) or colours, as [R, G, B] or "#rrggbb":

    classes:
      not_drivable: ["#0158ff", [40, 80, 0]]
      drivable: [[156, 76, 30], [178, 176, 153]]
    default: not_drivable
    ignore: [255]

For annotation files (`nanou-deploy prepare --labels`) classes list the names of labels instead.

`default` takes every value that is not listed. Without it such a value is an error. `ignore` lists values that nobody
has labelled: such pixels count in no loss, score or decision. `drivable` lists the classes that count as drivable;
without it, that is the class of this name, or the second of two. Of two classes the drivable one becomes the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from codegen.errors import ModelError
from codegen.graph.model import BINARY_CLASSES as BINARY_CLASSES
from codegen.graph.model import MAX_CLASSES as MAX_CLASSES
from codegen.graph.model import OutputContract
from codegen.untrusted import JSON_BYTES, printable, read_json, shown
from nanou_train.data.images import IGNORE, WIDE_MODES, Pixels
from nanou_train.errors import DataError
from nanou_train.yaml_file import read_yaml

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["index", "color"]


@dataclass(frozen=True)
class LabelMap:
    """`values` maps a number, or a colour as 0xRRGGBB, to a class index or IGNORE; `default` is such a one or None."""

    classes: tuple[str, ...]
    kind: Kind
    values: Mapping[int, int]
    default: int | None = None
    drivable: tuple[str, ...] = ()

    def apply(self, mask: Image, path: Path) -> Pixels:
        """Map a mask to class indices uint8 (H, W). Raises DataError for the wrong kind or for unlisted values."""
        found, inverse = np.unique(self._codes(mask, path), return_inverse=True)
        table = np.array([self.values.get(int(code), -1) for code in found])
        if self.default is not None:
            table[table < 0] = self.default
        classes = table[inverse].reshape(mask.height, mask.width)
        if (table < 0).any():
            unlisted = ", ".join(self._name(int(code)) for code in found[table < 0][:4])
            raise DataError(
                f"mask {path}: {np.count_nonzero(classes < 0)} pixels have {int((table < 0).sum())} value(s) that "
                f"the label map does not list: {unlisted}",
                hint="list them, or name a class as default; JPEG files change colours, so masks should be PNG",
            )
        return classes.astype(np.uint8)

    def _codes(self, mask: Image, path: Path) -> Any:
        """int (H, W): numbers, or colours as 0xRRGGBB."""
        if self.kind == "color":
            if mask.mode in WIDE_MODES:
                raise DataError(
                    f"mask {path} has Pillow mode {mask.mode}, the label map lists colours",
                    hint="list numbers in the label map",
                )
            channels = np.asarray(mask.convert("RGB")).astype(np.int64)
            return channels @ np.array([65536, 256, 1])
        if mask.mode in ("1", "L", "P") or mask.mode in WIDE_MODES:
            return np.asarray(mask).astype(np.int64)
        channels = np.asarray(mask)
        if mask.mode == "RGB" and bool((channels == channels[..., :1]).all()):
            return channels[..., 0].astype(np.int64)
        raise DataError(
            f"mask {path} has Pillow mode {mask.mode}, the label map lists numbers",
            hint='list colours in the label map, as [R, G, B] or "#rrggbb"',
        )

    def _name(self, code: int) -> str:
        return f"#{code:06x}" if self.kind == "color" else str(code)

    def palette(self) -> list[tuple[int, int, int]]:
        """Choose a colour for each class: the first that the map lists, or shades of a fixed circle of hues."""
        if self.kind == "color":
            first = {index: code for code, index in reversed(list(self.values.items())) if index != IGNORE}
            codes = [first.get(index, 0) for index in range(len(self.classes))]
            return [(code >> 16, code >> 8 & 255, code & 255) for code in codes]
        return [class_color(index) for index in range(len(self.classes))]


# Okabe and Ito's colours for colour-blind readers (Color Universal Design, 2008); the first is for background.
_OKABE_ITO = (0x000000, 0x009E73, 0xE69F00, 0x56B4E9, 0xF0E442, 0x0072B2, 0xD55E00, 0xCC79A7)


def class_color(index: int) -> tuple[int, int, int]:
    """Choose the RGB of a class in pictures; from the ninth class on the colours come again, darker each time."""
    code, shade = _OKABE_ITO[index % 8], 0.7 ** (index // 8)
    red, green, blue = (int(shade * (code >> shift & 255)) for shift in (16, 8, 0))
    return red, green, blue


def binary_mask(mask: Image, path: Path) -> Pixels:
    """Read class indices uint8 (H, W) from a mask that is 255 where drivable and 0 elsewhere; split at 128.

    One channel, or RGB with three equal ones. Raises DataError for palettes, colours, 16 bits, class numbers, and for
    more levels than two, such as 0, 1 and 255: none of these says which pixels are drivable. Edges may be soft, and a
    JPEG's values may scatter.
    """
    hint = "save it with one 8-bit channel, 255 where drivable, or give `nanou-deploy prepare` a --label-map"
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
    if levels := _levels(values):
        listed = ", ".join(f"{value} ({share:.1%})" for value, share in list(levels.items())[:6])
        raise DataError(
            f"mask {path} has more than the values 0 and 255: {listed}{', ...' if len(levels) > 6 else ''}",
            hint="give `nanou-deploy prepare` a --label-map that says what each value means, with ignore: [...] for "
            "those that mean nothing",
        )
    return (values >= 128).astype(np.uint8)


_NEAR = 16  # how far a JPEG's values scatter, at both ends alike
_CLASS_SHARE, _SOFT_SHARE, _SOFT_LEVELS = 0.005, 0.25, 12


def _levels(values: Pixels) -> dict[int, float]:
    """Return the values of a mask and their shares where more than two levels are meant, nothing where 0 and 255 are.

    A level has areas of one value, three pixels wide, which no soft edge has, or much of the mask is between the two,
    as of a photograph. Class numbers lie close to 0 alone, where a JPEG scatters at both ends and has edges of all
    values.
    """
    counts = np.bincount(values.reshape(-1), minlength=256)
    shares = counts / max(1, values.size)
    low, high = counts[1 : _NEAR + 1].sum(), counts[255 - _NEAR : 255].sum()
    soft = np.count_nonzero(counts[64:192]) >= _SOFT_LEVELS or 8 * high >= low
    near = (values > 0) & (values <= _NEAR)
    numbered = not soft and low >= _CLASS_SHARE * values.size and _has_flat_area(values, near)
    between = (values > _NEAR) & (values < 255 - _NEAR)
    if numbered or between.mean() > _SOFT_SHARE or (_has_flat_area(values, between)):
        return {value: float(shares[value]) for value in np.argsort(-counts, kind="stable").tolist() if counts[value]}
    return {}


def _has_flat_area(values: Pixels, chosen: npt.NDArray[np.bool_]) -> bool:
    """Tell whether one of the chosen pixels has its value in common with its eight neighbours."""
    if min(values.shape) < 3 or not chosen.any():
        return False
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3))[chosen[1:-1, 1:-1]]
    return bool((windows == windows[:, 1:2, 1:2]).all(axis=(1, 2)).any())


def index_mask(mask: Image, path: Path, class_count: int, *, ignores: bool) -> Pixels:
    """Read class indices uint8 (H, W) from a mask of one channel that holds them, grey or with a palette.

    With `ignores`, IGNORE is among them. Raises DataError for another mode, and for an index that no class has.
    """
    if mask.mode not in ("1", "L", "P"):
        raise DataError(
            f"mask {path} has Pillow mode {mask.mode}, not one channel of class indices",
            hint="`nanou-deploy prepare --label-map` turns colours into indices",
        )
    values = np.asarray(mask).astype(np.uint8)
    unknown = (values >= class_count) & ~((values == IGNORE) & ignores)
    if unknown.any():
        raise DataError(
            f"mask {path} has the value {values[unknown].max()}, dataset.json names {class_count} classes (0 to "
            f"{class_count - 1}{f', {IGNORE} is ignored' if ignores else ''})",
            hint="add the class to dataset.json, or prepare the data set again",
        )
    return values


def load_label_map(path: Path, names: Mapping[str, int] | None = None) -> LabelMap:
    """Read a .yaml, .yml or .json file. Raises DataError naming the file, the key and what is wrong.

    With `names`, the file lists names in place of values, and these are their numbers.
    """
    try:
        if path.suffix.lower() == ".json":
            document = read_json(path, JSON_BYTES)
        else:
            document = read_yaml(path, error=DataError).values
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="give the path of a label map") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be parsed: {error}", hint="correct the file") from error
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, dict) or not 2 <= len(classes) <= MAX_CLASSES:
        raise DataError(
            f'{path} has no mapping "classes" with 2 to {MAX_CLASSES} entries',
            hint="write classes:, and below it NAME: [values] for each class",
        )
    if unknown := document.keys() - {"classes", "default", "drivable", "ignore"}:
        raise DataError(
            f"{path}: unknown key {shown(min(unknown))}", hint='keys are "classes", "default", "drivable", "ignore"'
        )
    check_names(path, tuple(classes))
    labels = _label_map(path, classes, document.get("default"), document.get("ignore"), names)
    given = document.get("drivable")
    labels = _drivable_last(labels, given)
    return replace(labels, drivable=drivable_names(path, labels.classes, given))


def check_names(where: Path | str, classes: tuple[str, ...]) -> None:
    """Check class names as the model's contract will. Raises DataError."""
    try:
        OutputContract("segment", "logits", classes=classes)
    except ModelError as error:
        raise DataError(f"{where}: {error}", hint=error.hint) from error


def _drivable_last(labels: LabelMap, given: Any) -> LabelMap:
    """Of two classes, put the drivable one second: a network of one output channel says how probable that is."""
    first, *others = labels.classes
    if len(others) != 1 or (given != [first] if given is not None else not _is_drivable(first)):
        return labels
    swapped = {code: index if index == IGNORE else 1 - index for code, index in labels.values.items()}
    default = labels.default if labels.default in (None, IGNORE) else 1 - int(labels.default)
    return replace(labels, classes=(*others, first), values=swapped, default=default)


def _is_drivable(name: str) -> bool:
    return name.casefold() == BINARY_CLASSES[1]


def drivable_names(where: Path | str, classes: tuple[str, ...], given: Any) -> tuple[str, ...]:
    """Check the names of the classes that count as drivable, a list of names or None. Raises DataError.

    Of two classes it is the second, and no other; of more, without a list, the class called drivable, if there is one.
    """
    binary = len(classes) == 2
    if given is None and not (binary and _is_drivable(classes[0])):
        return classes[1:] if binary else tuple(name for name in classes if _is_drivable(name))
    stated = [classes[0]] if given is None else given
    if not isinstance(stated, list | tuple) or not all(name in classes for name in stated):
        raise DataError(f"{where}: drivable {shown(given)} is no list of classes", hint=f"classes: {_listed(classes)}")
    if binary and tuple(stated) != classes[1:]:
        raise DataError(
            f"{where}: drivable {shown(list(stated))}, but of two classes the second is the drivable one, and it alone",
            hint=f"put {shown(classes[0])} last",
        )
    return tuple(name for name in classes if name in stated)


def _listed(names: Iterable[str]) -> str:
    return printable(", ".join(names), 200)


def _label_map(
    path: Path, classes: Mapping[str, Any], default: Any, ignore: Any, labels: Mapping[str, int] | None
) -> LabelMap:
    names = tuple(classes)
    kinds: set[Kind] = set()
    meaning: dict[int, int] = {}
    listed = [*((index, name, values) for index, (name, values) in enumerate(classes.items()))]
    for index, name, values in (*listed, (IGNORE, "ignore", ignore)):
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            kind, code = _code(path, name, value) if labels is None else ("index", _number(path, name, value, labels))
            kinds.add(kind)
            if meaning.get(code, index) != index:
                other = "ignore" if meaning[code] == IGNORE else names[meaning[code]]
                raise DataError(f"{path}: {value!r} means both {other} and {name}", hint="list it under one class")
            meaning[code] = index
    if len(kinds) != 1:
        raise DataError(
            f"{path} lists {'numbers and colours' if kinds else 'no values'}", hint="list one kind of value throughout"
        )
    codes: dict[Any, int] = {"ignore": IGNORE} | {name: index for index, name in enumerate(names)}
    if default is not None and (not isinstance(default, str) or default not in codes):
        raise DataError(
            f"{path}: default {shown(default)} is none of the classes", hint=f"use one of {_listed(names)}, or ignore"
        )
    return LabelMap(names, kinds.pop(), meaning, None if default is None else codes[default])


def _number(path: Path, name: str, value: Any, labels: Mapping[str, int]) -> int:
    if not isinstance(value, str) or value not in labels:
        raise DataError(
            f"{path}: class {name} lists {shown(value)}, which no label is called", hint=f"found: {_listed(labels)}"
        )
    return labels[value]


def _code(path: Path, name: str, value: Any) -> tuple[Kind, int]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return "index", value
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return "color", value[0] << 16 | value[1] << 8 | value[2]
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        try:
            return "color", int(value[1:], 16)
        except ValueError:
            pass
    raise DataError(
        f"{path}: class {name} lists {shown(value)}, which is no mask value",
        hint='write a number from 0 to 65535, a colour [R, G, B], or "#rrggbb" in quotes',
    )
