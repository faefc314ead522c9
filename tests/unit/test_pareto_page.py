"""The page of a front: everything in one file, and charts that say what the numbers are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from nanou_deploy.report.drawing import COLORS, SURFACE
from nanou_deploy.report.pareto import describe_structure, render_front
from nanou_deploy.report.scatter import Dot, scatter_svg, short
from nanou_train.networks.cost import Cost
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
    return Point(name, name, STRUCTURE, 99, miou, miou - 0.01, None, 1000, costs, "prune", (12, 16), (0, 1, 2))


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
    assert page.count('<g class="explained"><title>') == 4 * 3  # a dot of each network
    outside = page.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
        'xmlns:xlink="http://www.w3.org/1999/xlink"', ""
    )
    assert not re.search(r"(src|href)=(?!\"#)|https?://|@import|url\((?!#)", outside)
    assert "a &lt;front&gt;" in page
    assert "<front>" not in page


def test_a_front_without_points_is_a_page_too() -> None:
    assert "0 networks" in render_front(Front("empty", ()))


def texts(svg: str, element: str = "text") -> list[str | None]:
    return [text.text for text in ElementTree.fromstring(svg).findall(f".//{{*}}{element}")]


def test_beaten_dots_are_hollow_and_have_no_name() -> None:
    dots = [Dot(1e6, 0.7, COLORS[0], "a", "A", True), Dot(5e6, 0.8, COLORS[0], "b", "B", True)]
    svg = scatter_svg("title", ("instructions", "mIoU"), [*dots, Dot(2e6, 0.6, COLORS[1], "c", "C", False)])
    assert {"instructions, logarithmic", "mIoU", "a", "b"} <= set(texts(svg))
    assert "c" not in texts(svg)
    assert texts(svg, "title") == ["A", "B", "C"]
    groups = ElementTree.fromstring(svg).findall(".//{*}g[@class='explained']")
    fills = [re.search(r"fill: (#\w+)", ElementTree.tostring(group, encoding="unicode")) for group in groups]
    assert [fill and fill[1] for fill in fills] == [COLORS[0], COLORS[0], SURFACE]


@pytest.mark.parametrize(
    ("costs", "labels"),
    [
        ((1e6, 2e6), ["1M", "1.2M", "1.4M", "1.6M", "1.8M", "2M"]),
        ((1e6, 9e6), ["1M", "2M", "3M", "5M", "10M"]),
    ],
)
def test_ticks_are_round(costs: tuple[float, float], labels: list[str]) -> None:
    dots = [Dot(cost, 0.7 + i / 10, COLORS[0], "", "", True) for i, cost in enumerate(costs)]
    assert [text for text in texts(scatter_svg("t", ("a", "b"), dots)) if text in labels] == labels


def test_one_network_is_a_plot_too() -> None:
    assert "only" in texts(scatter_svg("t", ("a", "b"), [Dot(5000, 0.5, COLORS[0], "only", "", True)]))


def test_names_of_neighbours_do_not_meet() -> None:
    dots = [Dot(1e6 + i, 0.7 + i * 1e-4, COLORS[0], f"a_long_name_{i}", "", True) for i in range(3)]
    svg = scatter_svg("t", ("a", "b"), [*dots, Dot(3e6, 0.9, COLORS[0], "", "", True)])
    named = [text for text in ElementTree.fromstring(svg).findall(".//{*}text") if "long" in (text.text or "")]
    heights = sorted(float(re.findall(r"[\d.]+", text.get("transform", ""))[-1]) for text in named)
    assert len(heights) >= 2
    assert min(b - a for a, b in pairwise(heights)) >= 12


def test_structures_and_numbers_are_short() -> None:
    assert describe_structure(STRUCTURE) == "60x80x3: 4 3k5 ↓2 8 ↓3x2 16 ↑ – ↑+ 4"
    assert [short(value) for value in (12_300_000, 8_200, 950)] == ["12.3M", "8.2k", "950"]
