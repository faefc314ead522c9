"""Read files that a stranger may have written: regular files of bounded size, JSON and XML of bounded depth."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

JSON_BYTES = 1 << 20
JSON_DEPTH = 32
XML_DEPTH = 32
XML_ELEMENTS = 2_000_000
MAX_INTEGER = 2**63 - 1

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read the content of a regular file of at most `most_bytes`.

    Raises OSError where it cannot be read, ValueError where it is a pipe, a device or larger: opening does not wait
    for a pipe's other end, and nothing is read of a file that is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(stream.fileno())
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, "it is a folder", str(path))
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is a pipe or a device, not a file")
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    return data


def parse_json(data: bytes, *, most_depth: int = JSON_DEPTH) -> Any:
    """Parse UTF-8 JSON. Raises ValueError where RFC 8259 leaves a choice that a stranger could make for us.

    Refused are keys that occur twice in an object, NaN and infinities, integers beyond 64 bits, and nesting deeper than
    `most_depth`, which is measured before anything is built.
    """
    text = data.decode("utf-8-sig")
    _refuse_deep(text, most_depth)
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer)


def read_json(path: Path, most_bytes: int = JSON_BYTES) -> Any:
    """`parse_json` of a file. Raises OSError or ValueError."""
    return parse_json(read_bounded(path, most_bytes))


def parse_xml(data: bytes, *, most_depth: int = XML_DEPTH, most_elements: int = XML_ELEMENTS) -> Element:
    """Build the root element of an XML document. Raises ValueError where it is no XML, or deeper or longer than that.

    A document type is refused, and with it every entity, which a few lines could expand to gigabytes, or to a file.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > most_depth or count > most_elements:
            raise ValueError(f"it is nested more than {most_depth} deep, or has more than {most_elements:,} elements")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_declaration: object) -> None:
        raise ValueError("it declares a document type, which may hold entities")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is no XML: {error}") from error
    return builder.close()


def _refuse_deep(text: str, most_depth: int) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > most_depth:
            raise ValueError(f"it is nested more than {most_depth} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError(f"it has the key {shown(key)} twice")
        document[key] = value
    return document


def _constant(text: str) -> float:
    raise ValueError(f"it has the number {text}")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it has the number {shown(text)}, which is beyond double precision")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError(f"it has the number {shown(text)}, which is beyond 64 bits")
    return value


def shown(value: object, most_characters: int = 60) -> str:
    """Quote, escape and shorten a stranger's value for an error message."""
    return printable(repr(value) if isinstance(value, str) else str(value), most_characters)


def printable(text: str, most_characters: int | None = None) -> str:
    """Escape as `shown` does, without quotes: nothing that a terminal or a page would act on."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if most_characters is None or len(text) <= most_characters else text[: most_characters - 1] + "…"


def printable_lines(text: str) -> str:
    """Escape as `printable` does, line by line."""
    return "\n".join(printable(line) for line in text.split("\n"))
