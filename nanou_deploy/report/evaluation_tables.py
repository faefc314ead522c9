"""Make the report's tables of an evaluation: classes, confusion, sequences, and how far executors agree."""

from __future__ import annotations

from collections.abc import Iterator

from nanou_deploy.report.data import ReportData
from nanou_deploy.report.tables import MISSING, Cell, Table, count_cell, percent_cell
from nanou_train.evaluation.evaluate import Evaluation

_SEQUENCES_SHOWN = 15


def evaluation_tables(data: ReportData) -> tuple[Table, ...]:
    """Make the tables that have rows; confusion and sequences of the last executor, the one nearest to the device."""
    return tuple(_tables(data))


def _tables(data: ReportData) -> Iterator[Table]:
    if not data.evaluations:
        return
    last = data.evaluations[-1]
    yield _class_table(data.evaluations)
    yield _confusion_table(last)
    if last.sequences:
        yield _sequence_table(last)
    if data.comparisons:
        yield _comparison_table(data)


def _class_table(evaluations: tuple[Evaluation, ...]) -> Table:
    titles = ("share", "IoU", "Dice", "precision", "recall", "F0.5", "F2", "boundary F")
    return Table(
        "classes",
        "By class",
        "Percent. Share: of the true pixels. Boundary F: agreement of outlines, within 0.75 % of the image diagonal "
        "and at least one pixel.",
        (Cell("executor"), Cell("class"), *(Cell(title, "n") for title in titles)),
        tuple(
            (
                Cell(one.executor),
                Cell(each.name),
                *(
                    percent_cell(value)
                    for value in (
                        each.share,
                        each.iou,
                        each.dice,
                        each.precision,
                        each.recall,
                        each.f05,
                        each.f2,
                        each.boundary_f,
                    )
                ),
            )
            for one in evaluations
            for each in one.classes
        ),
    )


def _confusion_table(one: Evaluation) -> Table:
    names = [each.name for each in one.classes]
    rows = []
    for name, row in zip(names, one.confusion, strict=True):
        total = sum(row)
        cells = (Cell(f"{pixels:,} ({100 * pixels / total:.1f} %)" if total else "0", "n") for pixels in row)
        rows.append((Cell(f"true {name}"), *cells))
    return Table(
        "confusion",
        "Confusion",
        f"Pixels, and per cent of the true class; {one.executor} at threshold {one.threshold:g}.",
        (Cell(""), *(Cell(f"decided {name}", "n") for name in names)),
        tuple(rows),
    )


def _sequence_table(one: Evaluation) -> Table:
    ordered = sorted(one.sequences, key=lambda sequence: sequence.metrics["miou"])
    spread = one.sequence_spread
    cut = f" The {_SEQUENCES_SHOWN} lowest are shown." if len(ordered) > _SEQUENCES_SHOWN else ""
    return Table(
        "sequences",
        "By sequence",
        f"{one.executor}; mIoU over {len(ordered)} sequences: mean {100 * spread['mean_miou']:.1f} %, "
        f"standard deviation {100 * spread['std_miou']:.1f}, lowest {100 * spread['min_miou']:.1f} %.{cut}",
        (Cell("sequence"), *(Cell(title, "n") for title in ("images", "mIoU", "F1", "precision", "recall"))),
        tuple(
            (
                Cell(each.group),
                Cell(str(each.images), "n"),
                *(percent_cell(each.metrics[key]) for key in ("miou", "f1", "precision", "recall")),
            )
            for each in ordered[:_SEQUENCES_SHOWN]
        ),
    )


def _comparison_table(data: ReportData) -> Table:
    titles = ("pixels", "decided differently", "int8 outputs differ", "max, steps", "mean, steps", "mIoU", "mIoU")
    return Table(
        "comparison",
        "Agreement",
        "Every pair of executors on the same pictures. Logits are compared in steps of the int8 output; mIoU of the "
        "first, then of the second.",
        (Cell("first"), Cell("second"), *(Cell(title, "n") for title in titles)),
        tuple(
            (
                Cell(pair.first),
                Cell(pair.second),
                count_cell(pair.pixels),
                count_cell(pair.differing_pixels),
                count_cell(pair.differing_outputs),
                _number(pair.max_difference_steps),
                _number(pair.mean_difference_steps),
                percent_cell(pair.first_miou),
                percent_cell(pair.second_miou),
            )
            for pair in data.comparisons
        ),
    )


def _number(value: float | None) -> Cell:
    return Cell(MISSING if value is None else f"{value:.3f}", "n")
