"""Draw the line charts of an evaluation: precision and recall, thresholds, reliability; redundancy over epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nanou_deploy.report.drawing import COLORS, MUTED, SURFACE, plotting
from nanou_train.evaluation.evaluate import Evaluation

SIZE_PX = (360, 326)
SHOWN_LAYERS = 3  # of a watched training: the most redundant ones
_SWEPT = (("miou", "mIoU"), ("precision", "precision"), ("recall", "recall"), ("f1", "F1"))


@dataclass(frozen=True)
class Mark:
    """A point of its own, with what a reader sees on pointing at it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One line of a chart, and points of it that stand out."""

    name: str
    points: tuple[tuple[float, float], ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over a plane; `labels` name its axes, `guide` is a dashed line from one point to another.

    Without `y_range` the axis is as high as the lines, from 0.
    """

    slug: str
    title: str
    note: str
    labels: tuple[str, str]
    lines: tuple[Line, ...]
    guide: tuple[tuple[float, float], tuple[float, float]] | None = None
    x_range: tuple[float, float] = (0, 1)
    y_range: tuple[float, float] | None = (0, 1)


def evaluation_charts(
    evaluations: Sequence[Evaluation], redundancy: Sequence[Mapping[str, Any]] = ()
) -> tuple[Chart, ...]:
    """Make the charts for which there are figures: two for two classes only, the last for a training that was watched.

    `redundancy`: the records of its nas_log.json.
    """
    return tuple(_charts(evaluations, [record for record in redundancy if record["event"] == "epoch"]))


def chart_svg(chart: Chart) -> str:
    """Draw a chart as SVG."""
    with plotting(chart.title, SIZE_PX, chart.labels) as plot:
        plot.axes.set(xlim=chart.x_range)
        if chart.x_range != (0, 1):  # epochs
            plot.axes.locator_params("x", integer=True)
        if chart.guide:
            plot.axes.plot(*zip(*chart.guide, strict=True), color=MUTED, linewidth=1, linestyle="--")
        for number, line in enumerate(chart.lines):
            color = COLORS[number % len(COLORS)]
            x, y = zip(*line.points, strict=True)
            plot.axes.plot(x, y, color=color, label=line.name, clip_on=False)
            for mark in line.marks:
                (dot,) = plot.axes.plot(mark.x, mark.y, "o", color=color, markerfacecolor=SURFACE, clip_on=False)
                plot.explain(dot, mark.text)
        plot.axes.set_ylim(*(chart.y_range or (0, None)))
        plot.figure.legend(loc="outside lower left", ncols=2)
    return plot.svg


def _charts(evaluations: Sequence[Evaluation], epochs: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    swept = [one for one in evaluations if one.sweep]
    if swept:
        yield _precision_recall(swept)
        yield _thresholds(swept[-1])
    if evaluations:
        yield _reliability(evaluations)
    if epochs:
        yield _redundancy(epochs)


def _precision_recall(evaluations: Sequence[Evaluation]) -> Chart:
    lines = []
    for one in evaluations:
        name = f"{one.executor}, AP {100 * (one.average_precision or 0.0):.1f} %"
        precision, recall = one.metrics["precision"], one.metrics["recall"]
        text = f"{one.executor} at {one.threshold:g}: precision {precision:.3f}, recall {recall:.3f}"
        points = _points((point.recall, point.precision) for point in one.sweep)
        lines.append(Line(name, points, (Mark(recall, precision, text),)))
    note = "One point for each threshold from 0.01 to 0.99; the dots are the thresholds in use. AP: average precision."
    return Chart("precision_recall", "Precision and recall", note, ("recall", "precision"), tuple(lines))


def _thresholds(one: Evaluation) -> Chart:
    lines = [
        Line(label, _points((point.threshold, getattr(point, key)) for point in one.sweep)) for key, label in _SWEPT
    ]
    note = f"{one.executor}; dashed: the threshold in use, {one.threshold:g}."
    guide = ((one.threshold, 0.0), (one.threshold, 1.0))
    return Chart("thresholds", "What the threshold does", note, ("threshold", "score"), tuple(lines), guide)


def _reliability(evaluations: Sequence[Evaluation]) -> Chart:
    lines = []
    for one in evaluations:
        bins = one.calibration.bins
        marks = tuple(
            Mark(
                each.confidence,
                each.accuracy,
                f"{one.executor}: stated {each.confidence:.3f}, true {each.accuracy:.3f}, {each.pixels:,} pixels",
            )
            for each in bins
        )
        name = f"{one.executor}, ECE {100 * one.calibration.ece:.1f} %"
        lines.append(Line(name, _points((each.confidence, each.accuracy) for each in bins), marks))
    note = "Pixels by the probability that the model states; on the dashed line it could be taken at its word."
    labels = ("stated probability", "true share")
    return Chart("reliability", "Reliability", note, labels, tuple(lines), ((0.0, 0.0), (1.0, 1.0)))


def _redundancy(epochs: Sequence[Mapping[str, Any]]) -> Chart:
    """Chart the mean redundancy of all layers, and the layers that end as the most redundant."""
    final = epochs[-1]["layer_metrics"]
    worst = sorted(final, key=lambda name: -final[name]["redundancy_score"])[:SHOWN_LAYERS]
    mean = ((one["epoch"], one["aggregate"]["redundancy_score"]["mean"]) for one in epochs)
    lines = [Line("mean of all layers", _points(mean))]
    for name in worst:
        scores = ((one["epoch"], one["layer_metrics"][name]["redundancy_score"]) for one in epochs)
        lines.append(Line(name, _points(scores)))
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    note = "The share of a layer's channels that repeat others, while the float student was trained."
    title, labels = "Redundancy over epochs", ("epoch", "redundancy")
    return Chart("redundancy", title, note, labels, tuple(lines), x_range=(first, max(last, first + 1)))


def _points(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple(points)
