"""YAML files: plain data with lines, and no file that means something else or grows beyond itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nanou_train.errors import ConfigError
from nanou_train.yaml_file import parse_yaml, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_values_are_plain_and_know_their_line() -> None:
    text = "# remark\na:\n  - 1\n  - {b: 0x10,\n     c: 'x'}\nd: 1e-3\ne: no\nf: {}\ng:\n"
    found = parse_yaml(text, "FILE")
    assert found.values == {"a": [1, {"b": 16, "c": "x"}], "d": 0.001, "e": "no", "f": {}, "g": None}
    assert {type(found.values[key]) for key in "de"} == {float, str}
    assert type(found.values["a"][1]["b"]) is int
    places = ((), ("a",), ("a", 0), ("a", 1, "b"), ("a", 1, "c"), ("d", "deeper"), ("absent",))
    lines = ["FILE", *(f"FILE, line {line}" for line in (2, 3, 4, 5, 6)), "FILE"]
    assert [found.where(*place) for place in places] == lines


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, r"line 2: \*a"),
        ("a: 1\nb:\n  c: 2\n  c: 3\n", "line 4: .*duplicate key"),
        ("a:\n  <<: {b: 1}\n", "line 2: <<"),
        ("- 1\n- 2024-05-06\n", "line 2: 2024-05-06 is a date"),
        ("a: [0, .inf]\n", "line 1: inf is no number"),
        ("b: 0\na: 1.e999\n", "line 2: inf is no number"),
        ("b: 0\n1: 2\n", "line 2: the key 1 is no text"),
        ("b: 0\n~: 2\n", "line 2: the key None is no text"),
        ("? [a]\n: 3\n", "line 1: the key .*is no text"),
        ("b: 0\na: !!python/object:os.system {}\n", "line 2: the tag"),
        ("a: !!set {x, y}\n", "line 1: the tag"),
        (f"a: {'[' * 100}{']' * 100}\n", "line 1: more than 30 levels deep"),
        ("? " * 5000, "line 1: more than 30 levels deep"),
        (f"a: {'9' * 5000}\n", "Exceeds the limit"),
        ("a: 1\n---\nb: 2\n", "line 2: not YAML"),
        ("a: \x07", "is not YAML: unacceptable character"),
        ("a: [", "line 1: not YAML"),
    ],
)
def test_what_is_no_plain_data_is_an_error(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"FILE.*{says}") as caught:
        parse_yaml(text, "FILE")
    assert caught.value.hint


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_yaml(path)
    path.write_text(f"a: {'b' * 200_000}")
    with pytest.raises(ConfigError, match="more than 200,000 bytes"):
        read_yaml(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="a pipe or a device"):
        read_yaml(tmp_path / "pipe")
