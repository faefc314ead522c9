"""Turn the values of mask files into class indices by a label map.

It is a YAML or JSON file. The order of its classes gives their indices; each lists the mask values that
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

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from codegen.errors import ModelError
from codegen.graph.model import BINARY_CLASSES as BINARY_CLASSES
from codegen.graph.model import MAX_CLASSES as MAX_CLASSES
from codegen.graph.model import OutputContract
from codegen.untrusted import JSON_BYTES, printable, read_json, shown
from nanou_train.data.images import IGNORE, WIDE_MODES, Picture, Pixels
from nanou_train.data.mask_values import check_opaque, check_whole
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

    def apply(self, picture: Picture) -> Pixels:
        """Map a mask to class indices uint8 (H, W). Raises DataError for the wrong kind or for unlisted values.

        `default` takes none of a lossy file's, which may have been listed ones.
        """
        found, inverse = np.unique(self._codes(picture.image, picture.path), return_inverse=True)
        table = np.array([self.values.get(int(code), -1) for code in found])
        if self.default is not None and not picture.lossy:
            table[table < 0] = self.default
        classes = table[inverse].reshape(picture.image.height, picture.image.width)
        if (table < 0).any():
            unlisted = ", ".join(self._name(int(code)) for code in found[table < 0][:4])
            raise DataError(
                f"mask {picture.path}: {np.count_nonzero(classes < 0)} pixels have {int((table < 0).sum())} value(s) "
                f"that the label map does not list: {unlisted}",
                hint="save masks as PNG: this file's compression changes values"
                if picture.lossy
                else "list them, or name a class as default",
            )
        return classes.astype(np.uint8)

    def _codes(self, mask: Image, path: Path) -> Any:
        """int (H, W): numbers, or colours as 0xRRGGBB."""
        if mask.mode == "F":
            check_whole(np.asarray(mask), path)
        if self.kind == "color":
            if mask.mode in WIDE_MODES:
                raise DataError(
                    f"mask {path} has Pillow mode {mask.mode}, the label map lists colours",
                    hint="list numbers in the label map",
                )
            check_opaque(mask, path)
            channels = np.asarray(mask.convert("RGB")).astype(np.int64)
            return channels @ np.array([65536, 256, 1])
        if mask.mode == "1" and 1 not in self.values:  # white, which 8 bits call 255
            return np.asarray(mask).astype(np.int64) * 255
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
    if named := [name for name in classes if name.casefold() == "ignore"]:
        raise DataError(
            f"{path}: a class is called {named[0]}, which is what `ignore` is for",
            hint="write its values below ignore:",
        )
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
    spelled: dict[str, str] = {}
    for name in classes:
        if name != name.strip():
            raise DataError(f"{where}: the class {shown(name)} begins or ends with a space", hint="leave it out")
        other = spelled.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other is not name:
            raise DataError(f"{where}: the classes {shown(other)} and {shown(name)} are spelled alike", hint="keep one")


def _drivable_last(labels: LabelMap, given: Any) -> LabelMap:
    """Of two classes, put the drivable one second: a network of one output channel says how probable that is."""
    first, *others = labels.classes
    if len(others) != 1 or (given != [first] if given is not None else not _is_drivable(first)):
        return labels
    swapped = {code: index if index == IGNORE else 1 - index for code, index in labels.values.items()}
    default = labels.default if labels.default in (None, IGNORE) else 1 - int(labels.default)
    return replace(labels, classes=(*others, first), values=swapped, default=default)


# Names by which a class says that it is not drivable.
_NOT_DRIVABLE = re.compile(
    r"(no|not|non|un)[ _-]?driv.*|bg|back[ _-]?ground|void|others?|rest|none|nothing|un(known|labell?ed|defined)|"
    r"obstacles?|ignored?",
    re.IGNORECASE,
)


def _is_drivable(name: str) -> bool:
    return name.casefold() == BINARY_CLASSES[1]


def drivable_names(where: Path | str, classes: tuple[str, ...], given: Any) -> tuple[str, ...]:
    """Check the names of the classes that count as drivable, a list of names or None. Raises DataError.

    Of two classes it is the second, and no other; of more, without a list, the class called drivable, if there is one.
    """
    binary = len(classes) == 2
    if given is None and binary and _NOT_DRIVABLE.fullmatch(classes[1]) and not _is_drivable(classes[0]):
        raise DataError(
            f"{where}: of {shown(classes[0])} and {shown(classes[1])} nothing says which is drivable, and the second is"
            " by default",
            hint=f"write drivable: [{printable(classes[0], 60)}]",
        )
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
    if isinstance(value, str) and re.fullmatch("#[0-9A-Fa-f]{6}", value):
        return "color", int(value[1:], 16)
    raise DataError(
        f"{path}: class {name} lists {shown(value)}, which is no mask value",
        hint='write a number from 0 to 65535, a colour [R, G, B], or "#rrggbb" in quotes',
    )
