"""Line charts of an evaluation, as coordinates that templates print: precision and recall, thresholds, reliability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen.resources import template_environment
from nanou_train.evaluate import Evaluation

WIDTH_PX, HEIGHT_PX = 360, 326
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 46, 348, 14, 252
_STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SWEPT = (("miou", "mIoU"), ("precision", "precision"), ("recall", "recall"), ("f1", "F1"))


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
    """A square of 0..1 by 0..1. `guides` are dashed lines: the diagonal, or a threshold."""

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
    left: int = _LEFT_PX
    right: int = _RIGHT_PX
    top: int = _TOP_PX
    bottom: int = _BOTTOM_PX


def evaluation_charts(evaluations: Sequence[Evaluation]) -> tuple[Chart, ...]:
    """Precision and recall, thresholds (both for two classes only), reliability."""
    return tuple(_charts(evaluations))


def svg_file(chart: Chart) -> str:
    """The chart as a file of its own."""
    return template_environment().get_template("report/chart.svg.j2").render(chart=chart)


def _charts(evaluations: Sequence[Evaluation]) -> Iterator[Chart]:
    swept = [one for one in evaluations if one.sweep]
    if swept:
        yield _precision_recall(swept)
        yield _thresholds(swept[-1])
    if evaluations:
        yield _reliability(evaluations)


def _precision_recall(evaluations: Sequence[Evaluation]) -> Chart:
    series, marks = [], []
    for number, one in enumerate(evaluations):
        area = f"{one.executor}, AP {100 * (one.average_precision or 0.0):.1f} %"
        series.append(_series(area, number, ((point.recall, point.precision) for point in one.sweep)))
        precision, recall = one.metrics["precision"], one.metrics["recall"]
        title = f"{one.executor} at {one.threshold:g}: precision {precision:.3f}, recall {recall:.3f}"
        marks.append(Mark(f"s{number}", _x(recall), _y(precision), title))
    note = "One point for each threshold from 0.01 to 0.99; the dots are the thresholds in use. AP: average precision."
    return _chart("precision_recall", "Precision and recall", note, ("recall", "precision"), series, marks, ())


def _thresholds(one: Evaluation) -> Chart:
    series = [
        _series(label, number, ((point.threshold, getattr(point, key)) for point in one.sweep))
        for number, (key, label) in enumerate(_SWEPT)
    ]
    guide = f"{_x(one.threshold)},{_TOP_PX} {_x(one.threshold)},{_BOTTOM_PX}"
    note = f"{one.executor}; dashed: the threshold in use, {one.threshold:g}."
    return _chart("thresholds", "What the threshold does", note, ("threshold", "score"), series, [], (guide,))


def _reliability(evaluations: Sequence[Evaluation]) -> Chart:
    series, marks = [], []
    for number, one in enumerate(evaluations):
        bins = one.calibration.bins
        name = f"{one.executor}, ECE {100 * one.calibration.ece:.1f} %"
        series.append(_series(name, number, ((each.confidence, each.accuracy) for each in bins)))
        for each in bins:
            title = f"{one.executor}: stated {each.confidence:.3f}, true {each.accuracy:.3f}, {each.pixels:,} pixels"
            marks.append(Mark(f"s{number}", _x(each.confidence), _y(each.accuracy), title))
    note = "Pixels by the probability that the model states; on the dashed line it could be taken at its word."
    diagonal = f"{_x(0)},{_y(0)} {_x(1)},{_y(1)}"
    labels = ("stated probability", "true share")
    return _chart("reliability", "Reliability", note, labels, series, marks, (diagonal,))


def _chart(
    slug: str,
    title: str,
    note: str,
    labels: tuple[str, str],
    series: Sequence[Series],
    marks: Sequence[Mark],
    guides: tuple[str, ...],
) -> Chart:
    x_ticks = tuple(Tick(_x(step), f"{step:g}") for step in _STEPS)
    y_ticks = tuple(Tick(_y(step), f"{step:g}") for step in _STEPS)
    legend = tuple(_legend_entry(number, each) for number, each in enumerate(series))
    return Chart(slug, title, note, *labels, x_ticks, y_ticks, tuple(series), tuple(marks), guides, legend)


def _legend_entry(number: int, series: Series) -> LegendEntry:
    """Two in a row, under the axis."""
    x, y = _LEFT_PX + 160 * (number % 2), _BOTTOM_PX + 48 + 18 * (number // 2)
    return LegendEntry(series.name, series.css, x, x + 14, y)


def _series(name: str, number: int, points: Iterator[tuple[float, float]]) -> Series:
    return Series(name, f"s{number}", " ".join(f"{_x(x)},{_y(y)}" for x, y in points))


def _x(value: float) -> float:
    return round(_LEFT_PX + value * (_RIGHT_PX - _LEFT_PX), 1)


def _y(value: float) -> float:
    return round(_BOTTOM_PX - value * (_BOTTOM_PX - _TOP_PX), 1)
