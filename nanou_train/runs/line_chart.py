"""Line charts as coordinates that a template prints: the evaluation's curves, redundancy over epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.library.resources import template_environment

WIDTH_PX, HEIGHT_PX = 360, 326
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 46, 348, 14, 252
_STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_STEP_LABELS = ("0", "0.2", "0.4", "0.6", "0.8", "1")


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Series:
    """One line; `css` names its colour, `points` is SVG's own list of coordinates."""

    name: str
    css: str
    points: str


@dataclass(frozen=True)
class LegendEntry:
    name: str
    css: str
    x: int
    x_end: int
    y: int


@dataclass(frozen=True)
class Mark:
    """A point of its own, with what a reader sees on pointing at it."""

    css: str
    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Chart:
    """Lines over 0..1 in both directions; the ticks' labels say what that stands for.

    `guides` are dashed lines: the diagonal, or a threshold.
    """

    slug: str
    title: str
    note: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    marks: tuple[Mark, ...]
    guides: tuple[str, ...]
    legend: tuple[LegendEntry, ...]
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    left: int = LEFT_PX
    right: int = RIGHT_PX
    top: int = TOP_PX
    bottom: int = BOTTOM_PX


def svg_file(chart: Chart) -> str:
    """The chart as a file of its own."""
    return template_environment().get_template("report/chart.svg.j2").render(chart=chart)


def chart(
    slug: str,
    title: str,
    note: str,
    labels: tuple[str, str],
    series: Sequence[Series],
    marks: Sequence[Mark] = (),
    guides: tuple[str, ...] = (),
    x_labels: Sequence[str] = _STEP_LABELS,
) -> Chart:
    """`labels` name the axes; `x_labels` stand at equal distances, the first at 0 and the last at 1."""
    last = max(1, len(x_labels) - 1)
    x_ticks = tuple(Tick(x_px(index / last), label) for index, label in enumerate(x_labels))
    y_ticks = tuple(Tick(y_px(step), label) for step, label in zip(_STEPS, _STEP_LABELS, strict=True))
    legend = tuple(_legend_entry(number, each) for number, each in enumerate(series))
    return Chart(slug, title, note, *labels, x_ticks, y_ticks, tuple(series), tuple(marks), guides, legend)


def line(name: str, number: int, points: Iterable[tuple[float, float]]) -> Series:
    """The line through points of 0..1 by 0..1, in the colour with that number."""
    return Series(name, f"s{number}", " ".join(f"{x_px(x)},{y_px(y)}" for x, y in points))


def x_px(value: float) -> float:
    return round(LEFT_PX + value * (RIGHT_PX - LEFT_PX), 1)


def y_px(value: float) -> float:
    return round(BOTTOM_PX - value * (BOTTOM_PX - TOP_PX), 1)


def _legend_entry(number: int, series: Series) -> LegendEntry:
    """Two in a row, under the axis."""
    x, y = LEFT_PX + 160 * (number % 2), BOTTOM_PX + 48 + 18 * (number // 2)
    return LegendEntry(series.name, series.css, x, x + 14, y)
