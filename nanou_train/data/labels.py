"""Turn the values of mask files into class indices: by the 0-and-255 rule, or by a label map.

A label map is a YAML or JSON file. The order of its classes gives their indices; each lists the mask values that
mean it, either numbers (grey levels, palette indices, 16-bit labels) or colours, as [R, G, B] or "#rrggbb":

    classes:
      not_drivable: ["#0158ff", [40, 80, 0]]
      drivable: [[156, 76, 30], [178, 176, 153]]
    default: not_drivable

`default` takes every value that is not listed. Without it such a value is an error. `drivable` lists the classes that
count as drivable; without it, that is the class of this name, or the second of two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from codegen.graph.model import BINARY_CLASSES as BINARY_CLASSES
from codegen.graph.model import MAX_CLASSES as MAX_CLASSES
from nanou_train.data.images import WIDE_MODES, Pixels
from nanou_train.errors import DataError
from nanou_train.yaml_file import read_yaml

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["index", "color"]


@dataclass(frozen=True)
class LabelMap:
    """`values` maps a number, or a colour as 0xRRGGBB, to a class index; `default` is a class index or None."""

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
            first = {index: code for code, index in reversed(list(self.values.items()))}
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

    One channel, or RGB with three equal ones. Raises DataError for palettes, colours, 16 bits and class numbers:
    none of these says which pixels are drivable.
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
    return (values >= 128).astype(np.uint8)


def load_label_map(path: Path) -> LabelMap:
    """Read a .yaml, .yml or .json file. Raises DataError naming the file, the key and what is wrong."""
    try:
        if path.suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8"))
        else:
            document = read_yaml(path, error=DataError).values
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="give the path of a label map") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be parsed: {error}", hint="correct the file at that line") from error
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, dict) or not 2 <= len(classes) <= MAX_CLASSES:
        raise DataError(
            f'{path} has no mapping "classes" with 2 to {MAX_CLASSES} entries',
            hint="write classes:, and below it NAME: [values] for each class",
        )
    if unknown := document.keys() - {"classes", "default", "drivable"}:
        raise DataError(
            f"{path}: unknown key {sorted(map(str, unknown))[0]!r}", hint='keys are "classes", "default", "drivable"'
        )
    labels = _label_map(path, classes, document.get("default"))
    return replace(labels, drivable=drivable_names(path, labels.classes, document.get("drivable")))


def drivable_names(where: Path | str, classes: tuple[str, ...], given: Any) -> tuple[str, ...]:
    """Check the names of the classes that count as drivable, a list of names or None. Raises DataError.

    Of two classes it is the second, and no other; of more, without a list, the class called drivable, if there is one.
    """
    if given is None:
        return classes[1:] if len(classes) == 2 else tuple(name for name in classes if name == BINARY_CLASSES[1])
    if not isinstance(given, list | tuple) or not all(name in classes for name in given):
        raise DataError(f"{where}: drivable {given!r} is no list of classes", hint=f"classes: {', '.join(classes)}")
    if len(classes) == 2 and tuple(given) != classes[1:]:
        raise DataError(
            f"{where}: drivable {given!r}, but of two classes the second is the drivable one",
            hint=f"put {classes[0]} last",
        )
    return tuple(name for name in classes if name in given)


def _label_map(path: Path, classes: Mapping[str, Any], default: Any) -> LabelMap:
    names = tuple(classes)
    kinds: set[Kind] = set()
    meaning: dict[int, int] = {}
    for index, (name, values) in enumerate(classes.items()):
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            kind, code = _code(path, name, value)
            kinds.add(kind)
            if code in meaning:
                raise DataError(
                    f"{path}: {value!r} means both {names[meaning[code]]} and {name}", hint="list it under one class"
                )
            meaning[code] = index
    if len(kinds) != 1:
        raise DataError(
            f"{path} lists {'numbers and colours' if kinds else 'no values'}", hint="list one kind of value throughout"
        )
    if default is not None and default not in names:
        raise DataError(f"{path}: default {default!r} is none of the classes", hint=f"use one of {', '.join(names)}")
    return LabelMap(names, kinds.pop(), meaning, None if default is None else names.index(default))


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
        f"{path}: class {name} lists {value!r}, which is no mask value",
        hint='write a number from 0 to 65535, a colour [R, G, B], or "#rrggbb" in quotes',
    )
