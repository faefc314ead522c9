"""Read YAML files of plain data whose every key knows its line, so that an error can name it.

ruamel.yaml reads them (YAML 1.2) and refuses a key that appears twice. Aliases are refused here: a few lines of them
can expand to gigabytes, and `<<` is what `extends` does in an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from codegen.untrusted import read_bounded
from nanou_train.errors import ConfigError, TrainError

LARGEST_BYTES = 200_000
DEEPEST = 30


@dataclass(frozen=True)
class Located:
    """Plain values of a YAML document, and the line of each; `name` is its file's."""

    name: str
    values: Any
    tree: Any  # the same as ruamel.yaml's collections, which know their lines

    def where(self, *place: str | int) -> str:
        """Name the value at `place`, or the nearest one around it: "FILE, line N"."""
        line = ""
        at: Any = self.tree
        for part in place:
            try:
                row, _ = at.lc.item(part) if isinstance(part, int) else at.lc.key(part)
                line, at = f", line {row + 1}", at[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return f"{self.name}{line}"


def read_yaml(path: Path, *, error: type[TrainError] = ConfigError, number_keys: bool = False) -> Located:
    """Read a YAML file. Raises `error`, with the line, where it cannot be read, is ambiguous or holds odd values.

    With `number_keys`, keys may be whole numbers, and become text.
    """
    try:
        data = read_bounded(path, LARGEST_BYTES)
    except OSError as failure:
        raise error(f"cannot read {path}: {failure.strerror}", hint="give the path of a YAML file") from failure
    except ValueError as failure:
        raise error(f"cannot read {path}: {failure}", hint="give a smaller YAML file") from failure
    try:
        return parse_yaml(data.decode("utf-8"), str(path), error=error, number_keys=number_keys)
    except UnicodeDecodeError as failure:
        raise error(f"{path} is not YAML: {failure}", hint="save it as UTF-8 text") from failure


def parse_yaml(text: str, name: str, *, error: type[TrainError] = ConfigError, number_keys: bool = False) -> Located:
    """Parse YAML text; `name` says in errors where it is from. Raises `error` as `read_yaml`."""
    try:
        for line, problem, hint in _odd_events(text):
            raise error(f"{name}, line {line}: {problem}", hint=hint)
        tree = YAML().load(text)
    except (YAMLError, ValueError, RecursionError) as failure:
        raise _syntax_error(name, text, failure, error) from failure
    document = Located(name, None, tree)
    for place, problem in _odd_values(tree, (), (str, int) if number_keys else (str,)):
        raise error(f"{document.where(*place)}: {problem}", hint="put it in quotes if it is meant as text")
    return Located(name, _plain(tree), tree)


def _odd_events(text: str) -> Iterator[tuple[int, str, str]]:
    """Find what is refused before anything is built of it: line (from 1), what it is, what to try."""
    depth, instead = 0, "write the values out; an experiment takes another's keys by extends: NAME"
    for event in YAML().parse(text):
        line = event.start_mark.line + 1
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            yield line, f"more than {DEEPEST} levels deep", "write it flatter"
        if isinstance(event, AliasEvent):
            yield line, f"*{event.anchor}", instead
        if isinstance(event, ScalarEvent) and event.value == "<<":
            yield line, "<<", instead
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            yield line, f"the tag {event.tag}", "leave it out"


def _odd_values(
    value: Any, place: tuple[str | int, ...], keys: tuple[type, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Find each value that is no text, number, truth value or nothing, and each key that is none of the types."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, keys) or isinstance(key, bool):
                yield (*place, key), f"the key {key!r} is no text"
            yield from _odd_values(inner, (*place, key), keys)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _odd_values(inner, (*place, index), keys)
    elif not (value is None or isinstance(value, str | int | float)):
        yield place, f"{value} is a {type(value).__name__}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"{value} is no number to compute with"


def _plain(value: Any) -> Any:
    """Convert to Python's own types, without what ruamel.yaml remembers of how a value was written."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))


def _syntax_error(name: str, text: str, failure: Exception, error: type[TrainError]) -> TrainError:
    problem = (getattr(failure, "problem", None) or str(failure)).split(" with value ")[0].split(":")[0]
    mark = getattr(failure, "problem_mark", None)
    if mark is None:
        return error(f"{name} is not YAML: {problem}", hint="correct it")
    lines = text.splitlines()
    shown = lines[mark.line].strip()[:80] if mark.line < len(lines) else ""
    quoted = f" ({shown})" if shown else ""
    return error(f"{name}, line {mark.line + 1}: not YAML: {problem}{quoted}", hint="correct that line")
