"""The page of a front: everything in one file, and charts that say what the numbers are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from codegen.cost import Cost
from nanou_deploy.report.pareto import describe_structure, render_front
from nanou_deploy.report.scatter import BOTTOM_PX, LEFT_PX, RIGHT_PX, TOP_PX, Sample, scatter, short
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search.pareto import Front, Point

STRUCTURE = Structure(
    "nano_u",
    (60, 80, 3),
    (Level((Block(4), Block(3, 5)), (2, 2), (Block(4),), True), Level((Block(8),), (3, 2), ())),
    (Block(16),),
)


def point(name: str, miou: float, instructions: int) -> Point:
    costs = {b: Cost(b, 1000, instructions, 5000, 19200, 6000, 12000, 9000) for b in ("rv32-qemu", "esp32s3")}
    return Point(name, name, STRUCTURE, 99, miou, miou - 0.01, None, 1000, costs, "prune", (0, 1, 2))


FRONT = Front("a <front>", (point("p1", 0.7, 2_000_000), point("p2", 0.8, 9_000_000), point("p3", 0.69, 3_000_000)))


class Checker(HTMLParser):
    """Counts elements, and fails where one is closed that is not open."""

    VOID = ("meta", "line", "circle", "polyline", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_alone() -> None:
    page = render_front(FRONT)
    assert page == render_front(FRONT)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.seen.count("svg") == 4  # three costs on the first board, instructions on the second
    assert checker.seen.count("circle") == 2 * 4 * 3  # a halo and a dot of each network
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "a &lt;front&gt;" in page
    assert "<front>" not in page


def test_a_front_without_points_is_a_page_too() -> None:
    assert "0 networks" in render_front(Front("empty", ()))


def test_dots_lie_in_their_plot_and_beaten_ones_are_hollow() -> None:
    samples = [Sample(c, s, "s0", n, n, f) for n, c, s, f in (("a", 1e6, 0.7, True), ("b", 5e6, 0.8, True))]
    drawn = scatter("x", "title", ("instructions", "mIoU"), [*samples, Sample(2e6, 0.6, "s1", "c", "c", False)])
    assert drawn.x_label == "instructions, logarithmic"
    assert all(LEFT_PX <= dot.x <= RIGHT_PX and TOP_PX <= dot.y <= BOTTOM_PX for dot in drawn.dots)
    assert [dot.label for dot in drawn.dots] == ["a", "b", ""]
    (ax, ay), (bx, by) = ((dot.x, dot.y) for dot in drawn.dots[:2])
    assert drawn.front == f"{ax},{ay} {bx},{ay} {bx},{by} {float(RIGHT_PX)},{by}"  # along, then up


@pytest.mark.parametrize(
    ("costs", "labels"),
    [
        ((1e6, 2e6), ["1M", "1.2M", "1.4M", "1.6M", "1.8M", "2M"]),
        ((1e6, 9e6), ["1M", "1.5M", "2M", "3M", "4M", "5M", "7M", "10M"]),
        ((5000, 5000), ["4.7k", "4.8k", "4.9k", "5k", "5.1k", "5.2k", "5.3k"]),
    ],
)
def test_ticks_are_round(costs: tuple[float, float], labels: list[str]) -> None:
    samples = [Sample(cost, 0.7 + i / 10, "s0", "", "", True) for i, cost in enumerate(costs)]
    assert [tick.label for tick in scatter("x", "t", ("a", "b"), samples).x_ticks] == labels


def test_labels_of_neighbours_do_not_meet() -> None:
    samples = [Sample(1e6 + i, 0.7 + i * 1e-4, "s0", "a_long_name", "", True) for i in range(3)]
    drawn = scatter("x", "t", ("a", "b"), [*samples, Sample(3e6, 0.9, "s0", "", "", True)])
    heights = sorted(dot.label_y for dot in drawn.dots[:3])
    assert min(b - a for a, b in pairwise(heights)) >= 15


def test_structures_and_numbers_are_short() -> None:
    assert describe_structure(STRUCTURE) == "60x80x3: 4 3k5 ↓2 8 ↓3x2 16 ↑ – ↑+ 4"
    assert [short(value) for value in (12_300_000, 8_200, 950)] == ["12.3M", "8.2k", "950"]
