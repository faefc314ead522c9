"""A part of the soak of hostile sidecars, and that it sees what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.property.sidecar_soak import check_file, outcome, soak


def test_hostile_sidecars_are_refused_or_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    tally, failed = soak(24, seed=7)
    assert failed == [], capsys.readouterr().err
    assert {"refused", "accepted"} <= tally.keys()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.c", "/* a */ int evil; /* b */"),
        ("a.h", '#define A ""; evil'),
        ("a.txt", 'add_library("a" evil)'),
        ("a.md", "[a](http://evil)"),
        ("b.md", "<evil>"),
        ("a.html", "<p>a</p><evil>"),
        ("b.html", "<p onclick='evil()'>a</p>"),
        ("c.html", "<script>evil()</script>"),
        ("d.html", "<!-- evil -->"),
        ("a.json", '{"evil": 1}'),
        ("a.yml", "a:\n  evil: 1\n"),
        ("a.ini", "[evil]"),
        ("c.c", "/* EVIL */"),
    ],
)
def test_what_left_its_place_is_seen(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AssertionError):
        check_file(tmp_path / name)


def test_a_case_is_the_same_again(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()
        outcome(3, 7, folder)
    assert len({(folder / "m.json").read_bytes() for folder in folders}) == 1
