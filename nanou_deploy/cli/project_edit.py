"""Change values of nanou.toml in place: lines, order and comments of a person's file stay as they are."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from codegen.atomic_files import write_text
from codegen.untrusted import read_bounded
from nanou_deploy.cli.project_file import FILE, FILE_BYTES, parse_project
from nanou_deploy.errors import DeployError

_VALUE = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s#'\"\[{]+"
_TABLE = re.compile(r"\s*\[")


def quoted(text: str) -> str:
    """Write a TOML string (https://toml.io/en/v1.0.0#string): literal where that is plainer, else basic."""
    if text.isprintable() and "\\" in text and "'" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False)  # of printable text, JSON's strings are TOML's


def edited(text: str, values: Mapping[str, str], path: Path = FILE) -> str:
    """Set keys such as "policy" or "camera.size" in a project file's text.

    A line that has the key gets the value; else one where it is a comment, as `init` writes them; else one is added.
    Raises DeployError where the result would say anything else than before and this: then it is not written here.
    """
    before = dict(parse_project(tomllib.loads(text), path).values)
    lines = text.split("\n")
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        lines = _with_value(lines, section, name, quoted(value))
    made = "\n".join(lines)
    try:
        after = dict(parse_project(tomllib.loads(made), path).values)
    except (tomllib.TOMLDecodeError, DeployError):
        after = {}
    if after != {**before, **values}:
        wanted = "; ".join(f"{key} = {quoted(value)}" for key, value in values.items())
        raise DeployError(f"{path} is written in a way that cannot be edited here", hint=f"write it yourself: {wanted}")
    return made


def _with_value(lines: list[str], section: str, name: str, value: str) -> list[str]:
    first, end = _section(lines, section)
    if first is None:
        return [*lines, f"[{section}]", f"{name} = {value}", ""]
    for pattern in (
        rf"(\s*)({name}\s*=\s*)(?:{_VALUE})(\s*)(#.*)?",
        rf"(\s*)#\s*({name}\s*=\s*)(?:{_VALUE})(\s+)(#.*)?",
    ):
        for at in range(first, end):
            if found := re.fullmatch(pattern, lines[at]):
                indent, head, comment = found[1], found[2], found[4]
                said = f"{indent}{head}{value}"
                lines[at] = f"{said:<37} {comment}" if comment else said
                return lines
    while end > first and not lines[end - 1].strip():
        end -= 1
    return [*lines[:end], f"{name} = {value}", *lines[end:]]


def _section(lines: list[str], name: str) -> tuple[int | None, int]:
    """Find the first line of a table and the one behind its last; the top of the file is the table "" (RFC: none)."""
    heads = [at for at, line in enumerate(lines) if _TABLE.match(line)]
    if not name:
        return 0, heads[0] if heads else len(lines)
    for at in heads:
        if re.fullmatch(rf"\s*\[\s*{name}\s*\]\s*(#.*)?", lines[at]):
            return at + 1, next((other for other in heads if other > at), len(lines))
    return None, len(lines)


def write_values(values: Mapping[str, str], path: Path = FILE) -> None:
    """Set keys of a project file that was read. Raises DeployError where it cannot be edited, else OSError."""
    text = read_bounded(path, FILE_BYTES).decode("utf-8-sig")
    write_text(path, edited(text, values, path))
