"""YAML files whose every key knows its line, so that an error can name it.

Plain data only. A key that appears twice and the merge key `<<` are errors: the one hides a value, and the other is
what `extends` does here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nanou_train.errors import ConfigError

Place = tuple[str | int, ...]
DEEPEST = 30


@dataclass(frozen=True)
class Located:
    """A document's values, and the line (from 1) of each key and list item, by the keys that lead there."""

    path: Path
    values: Any
    lines: Mapping[Place, int]

    def where(self, *place: str | int) -> str:
        """ "FILE, line N" of the value at `place`, or of the nearest one around it."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return f"{self.path}, line {self.lines[place[:end]]}"
        return str(self.path)


def read_located(path: Path) -> Located:
    """Read a YAML file. Raises ConfigError, with the line, where it cannot be read or is ambiguous."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="give the path of an experiment file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: {error}", hint="save it as UTF-8 text") from error
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Place, int] = {}
        values = None if node is None else _Walk(path, loader, lines).value(node, ())
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from error
    finally:
        loader.dispose()
    return Located(path, values, lines)


@dataclass
class _Walk:
    path: Path
    loader: Any
    lines: dict[Place, int]

    def value(self, node: Any, place: Place) -> Any:
        if len(place) > DEEPEST:
            raise ConfigError(
                f"{self.path}, line {node.start_mark.line + 1}: nested without end", hint="remove the anchor"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*place, index)] = item.start_mark.line + 1
                items.append(self.value(item, (*place, index)))
            return items
        return self.loader.construct_object(node)

    def _mapping(self, node: Any, place: Place) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ConfigError(f"{self.path}, line {line}: <<", hint="write extends: NAME to take another's keys")
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.path}, line {line}: a key that is no word", hint="write KEY: VALUE lines")
            key = self.loader.construct_object(key_node)
            if key in values:
                before = self.lines[(*place, key)]
                raise ConfigError(
                    f'{self.path}, line {line}: "{key}" again, it is in line {before} already', hint="remove one"
                )
            self.lines[(*place, key)] = line
            values[key] = self.value(value_node, (*place, key))
        return values


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return ConfigError(f"{path} is not YAML: {problem}", hint="correct the file")
    lines = text.splitlines()
    shown = lines[mark.line].strip() if mark.line < len(lines) else ""
    hint = "correct that line"
    if shown.startswith("<<") or "&" in shown:
        hint = "write extends: NAME to take another's keys; anchors and << are not used here"
    quoted = f" ({shown})" if shown else ""
    return ConfigError(f"{path}, line {mark.line + 1}: not YAML: {problem}{quoted}", hint=hint)
