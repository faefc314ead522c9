"""Charts of an evaluation: precision and recall, thresholds, reliability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nanou_train.evaluation.evaluate import Evaluation
from nanou_train.runs.line_chart import BOTTOM_PX, TOP_PX, Chart, Mark, chart, line, svg_file, x_px, y_px

__all__ = ["Chart", "evaluation_charts", "svg_file"]

_SWEPT = (("miou", "mIoU"), ("precision", "precision"), ("recall", "recall"), ("f1", "F1"))


def evaluation_charts(evaluations: Sequence[Evaluation]) -> tuple[Chart, ...]:
    """Precision and recall, thresholds (both for two classes only), reliability."""
    return tuple(_charts(evaluations))


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
        series.append(line(area, number, ((point.recall, point.precision) for point in one.sweep)))
        precision, recall = one.metrics["precision"], one.metrics["recall"]
        title = f"{one.executor} at {one.threshold:g}: precision {precision:.3f}, recall {recall:.3f}"
        marks.append(Mark(f"s{number}", x_px(recall), y_px(precision), title))
    note = "One point for each threshold from 0.01 to 0.99; the dots are the thresholds in use. AP: average precision."
    return chart("precision_recall", "Precision and recall", note, ("recall", "precision"), series, marks, ())


def _thresholds(one: Evaluation) -> Chart:
    series = [
        line(label, number, ((point.threshold, getattr(point, key)) for point in one.sweep))
        for number, (key, label) in enumerate(_SWEPT)
    ]
    guide = f"{x_px(one.threshold)},{TOP_PX} {x_px(one.threshold)},{BOTTOM_PX}"
    note = f"{one.executor}; dashed: the threshold in use, {one.threshold:g}."
    return chart("thresholds", "What the threshold does", note, ("threshold", "score"), series, [], (guide,))


def _reliability(evaluations: Sequence[Evaluation]) -> Chart:
    series, marks = [], []
    for number, one in enumerate(evaluations):
        bins = one.calibration.bins
        name = f"{one.executor}, ECE {100 * one.calibration.ece:.1f} %"
        series.append(line(name, number, ((each.confidence, each.accuracy) for each in bins)))
        for each in bins:
            title = f"{one.executor}: stated {each.confidence:.3f}, true {each.accuracy:.3f}, {each.pixels:,} pixels"
            marks.append(Mark(f"s{number}", x_px(each.confidence), y_px(each.accuracy), title))
    note = "Pixels by the probability that the model states; on the dashed line it could be taken at its word."
    diagonal = f"{x_px(0)},{y_px(0)} {x_px(1)},{y_px(1)}"
    labels = ("stated probability", "true share")
    return chart("reliability", "Reliability", note, labels, series, marks, (diagonal,))
