"""docs/API.md: every name imports, every key and experiment exists, every test is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from nanou_deploy.cli import _COMMANDS
from nanou_train.experiments.experiment_file import experiment_names
from nanou_train.experiments.keys import ALIASES, KEYS

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "API.md").read_text(encoding="utf-8")


def _rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    part = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@cache
def _tests(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", TEXT))))
def test_the_test_is_there(name: str) -> None:
    path, function = name.split("::")
    assert function in _tests(path)


def test_every_row_names_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.endswith(" test |")]
    assert rows
    assert [row for row in rows if "`tests/" not in row] == []


def test_every_name_imports(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    rows = _rows("Names")
    for signature, where, _ in rows:
        module, name = where.strip("`").rsplit(".", 1)
        assert signature.startswith(f"`{name}(")
        assert callable(getattr(import_module(module), name))


def test_the_table_of_keys_is_the_programs() -> None:
    rows = [[re.findall(r"`([\w.]+)`", cell) for cell in row[:2]] for row in _rows("Keys")]
    assert {path for paths, _ in rows for path in paths} == set(KEYS)
    named = {name: path for paths, names in rows if names for name, path in zip(names, paths, strict=True)}
    assert named == {**ALIASES, "sweep": "sweep"}


def test_every_experiment_and_command_exists() -> None:
    experiments = {row[0].strip("`") for row in _rows("Experiments")}
    assert experiments <= set(experiment_names())
    assert {row[0].strip("`") for row in _rows("Commands")} <= set(_COMMANDS)
