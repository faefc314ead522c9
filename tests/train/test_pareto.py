"""Fronts: what is beaten leaves, what is written is read again, and what is damaged says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanou_train.errors import TrainError
from nanou_train.networks.cost import Cost, Limits
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search.pareto import Front, Point, non_dominated, objectives_of, read_front, write_front

BOARD = "rv32-qemu"
STRUCTURE = Structure("nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(4, 5),), True),), (Block(6),))
COST = Cost(BOARD, 1000, 5000, 800, 400, 600, 3000, 2000)


def point(name: str, val_miou: float, instructions: int = 5000, **changes: int) -> Point:
    costs = {BOARD: replace(COST, instructions=instructions, **changes)}
    return Point(name, f"points/{name}", STRUCTURE, 120, val_miou, 0.7, None, 1000, costs, "search", (12, 16), (0, 1))


def test_a_front_is_read_as_it_was_written(tmp_path: Path) -> None:
    points = (point("a", 0.8), point("b", 0.7, 3000))
    write_front(tmp_path / "front" / "pareto.json", points)
    assert read_front(tmp_path / "front") == Front("front", points)
    assert read_front(tmp_path / "front" / "pareto.json").boards == (BOARD,)
    assert [file.name for file in (tmp_path / "front").iterdir()] == ["pareto.json"]


@pytest.mark.parametrize("damage", ["", "{}", '{"schema": 1, "name": "x", "points": [{}]}', "[]", '{"schema": 9}'])
def test_a_damaged_front_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "pareto.json"
    file.write_text(damage)
    with pytest.raises(TrainError, match=r"pareto\.json"):
        read_front(file)


def test_a_missing_front_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="cannot read") as caught:
        read_front(tmp_path / "absent")
    assert "nanou-deploy pareto" in caught.value.hint


def test_beaten_points_leave_and_equal_ones_stay() -> None:
    best, equal, small = point("best", 0.8), point("equal", 0.8), point("small", 0.6, 2000)
    beaten = point("beaten", 0.79)
    lean = point("lean", 0.79, ram_bytes=700)  # worse in mIoU, better in RAM
    found = non_dominated((best, beaten, equal, small, lean), objectives_of(BOARD))
    assert [one.name for one in found] == ["best", "equal", "small", "lean"]


scores = st.tuples(st.integers(0, 4), st.integers(1, 5))


@given(st.lists(scores, max_size=12))
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(values: list[tuple[int, int]]) -> None:
    points = [point(str(i), miou / 10, cost) for i, (miou, cost) in enumerate(values)]
    front = non_dominated(points, (lambda p: -p.miou, lambda p: p.costs[BOARD].instructions))
    pairs = [(one.miou, one.costs[BOARD].instructions) for one in front]
    for one in points:
        miou, cost = one.miou, one.costs[BOARD].instructions
        better = [(m, c) for m, c in pairs if m >= miou and c <= cost and (m, c) != (miou, cost)]
        assert (one in front) != bool(better)


def test_limits_say_what_is_broken_and_by_how_much() -> None:
    assert Limits().violations(COST) == ()
    assert Limits(800, 5000, 5000).violations(COST) == ()
    broken = Limits(799, 4000, 4990).violations(COST)
    assert len(broken) == 3
    assert broken[0] == "working RAM 800 bytes on rv32-qemu, 1 more than 799"
    assert broken[1] == "instructions 5,000 on rv32-qemu, 1,000 more than 4,000"
    assert broken[2] == "code and tables 5,000 bytes on rv32-qemu, 10 more than 4,990"
