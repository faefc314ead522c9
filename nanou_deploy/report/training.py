"""Render a run's training as an HTML page, while it is under way and afterwards: losses, validation, sample masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import codegen
from codegen.library.resources import render_template
from codegen.untrusted import printable, read_json
from nanou_deploy.errors import DeployError
from nanou_deploy.report.charts import Chart, Line, Mark, chart_svg
from nanou_deploy.report.drawing import svg_element
from nanou_deploy.report.legend import css_entries, error_entries
from nanou_deploy.report.page import Figure, Gallery, PictureRow, tile_view
from nanou_deploy.report.pictures import Tile, class_overlay, decision_score
from nanou_deploy.report.tables import MISSING, Cell, Table
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.runs.records import Records, Samples, read_data, read_records
from nanou_train.runs.run_folder import MANIFEST, MANIFEST_BYTES, UNFINISHED

REFRESH_S = 5
_SHOWN_EPOCHS = 5  # masks of a picture
_NAMES = {"constant_mask": "constant mask"}


@dataclass(frozen=True)
class Training:
    """What is known of a run: its manifest, what it is trained on, and its epochs by network."""

    name: str
    manifest: Mapping[str, Any]
    data: Mapping[str, Any] | None
    records: Mapping[str, Records]

    @property
    def is_under_way(self) -> bool:
        return self.manifest.get("status") == "running"


def read_training(folder: Path) -> Training:
    """Read a run that may not have ended. Raises DeployError where there is none."""
    try:
        manifest = read_json(folder / MANIFEST, MANIFEST_BYTES)
        if not isinstance(manifest, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise DeployError(f"{folder} is no training run: {error}", hint="`nanou-deploy train` makes one") from error
    return Training(folder.name, manifest, read_data(folder), read_records(folder))


def render_training(training: Training) -> str:
    """Render the page: one HTML document that needs nothing beside it, and reads itself again while the run goes on."""
    manifest = training.manifest
    return render_template(
        "report/training.html.j2",
        name=training.name,
        subtitle=f"experiment {manifest.get('experiment', MISSING)} · seed {manifest.get('seed', MISSING)}",
        refresh_s=REFRESH_S if training.is_under_way else 0,
        verdict=_verdict(training),
        figures=tuple(_figures(training)),
        charts=[(chart, svg_element(chart_svg(chart))) for chart in _charts(training)],
        galleries=tuple(_galleries(training)),
        tables=tuple(_tables(training)),
        generator=f"nanou-deploy {codegen.__version__}",
    )


def _verdict(training: Training) -> Cell:
    status = str(training.manifest.get("status", ""))
    if training.is_under_way:
        return Cell(f"Under way. This page reads itself again every {REFRESH_S} seconds.")
    if status in UNFINISHED:
        return Cell(f"{status}: {training.manifest.get('error') or 'the same command goes on'}", "bad")
    metrics = training.manifest.get("metrics", {})
    student, constant = (metrics.get(name, {}).get("miou") for name in ("student", "constant_mask"))
    if student is None or constant is None:
        return Cell("Completed.", "good")
    sees = student > constant
    comparison = (
        f"{_percent(student)} % mIoU on the test part; a mask that looks at no picture has {_percent(constant)} %"
    )
    return Cell(f"Completed: {comparison}.", "good" if sees else "bad")


def _figures(training: Training) -> Iterator[Figure]:
    for name, records in training.records.items():
        last = records.rows[-1]
        best = _best(records.rows)
        note = f"loss {last['loss']:.3f}"
        yield Figure(f"{name}, epochs", f"{last['epoch']:.0f}", "", note)
        if best is not None:
            yield Figure(
                f"{name}, best", _percent(best["val_miou"]), "%", f"validation mIoU, epoch {best['epoch']:.0f}"
            )


def _charts(training: Training) -> Iterator[Chart]:
    """Loss, validation and learning rate; what a network has no figures for, it has no line in."""
    records = training.records
    ends = (1.0, max([2.0, *(one.rows[-1]["epoch"] for one in records.values())]))
    constant = training.data["constant_val_miou"] if training.data else None
    if lines := _lines(records, "val_miou"):
        guide = None if constant is None else ((ends[0], constant), (ends[1], constant))
        note = "On pictures that it is not trained on." + (" Dashed: the constant mask." if guide else "")
        yield Chart("val_miou", "Validation mIoU", note, ("epoch", "mIoU"), lines, guide, ends)
    if lines := _lines(records, "loss", mark_best=False):
        note = "What training lowers: masks, and the teacher's answers where there is one."
        yield Chart("loss", "Loss", note, ("epoch", "loss"), lines, None, ends, None)
    if lines := _lines(records, "learning_rate", mark_best=False):
        yield Chart(
            "rate", "Learning rate", "At the beginning of each epoch.", ("epoch", "rate"), lines, None, ends, None
        )


def _lines(records: Mapping[str, Records], key: str, *, mark_best: bool = True) -> tuple[Line, ...]:
    def line(name: str, rows: Sequence[Mapping[str, float]]) -> Line:
        best = _best(rows) if mark_best else None
        text = "" if best is None else f"{name}: {_percent(best['val_miou'])} % in epoch {best['epoch']:.0f}"
        marks = () if best is None else (Mark(best["epoch"], best["val_miou"], text),)
        return Line(name, tuple((row["epoch"], row[key]) for row in rows if key in row), marks)

    return tuple(line(name, one.rows) for name, one in records.items() if any(key in row for row in one.rows))


def _best(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    return max((row for row in rows if "val_miou" in row), key=lambda row: row["val_miou"], default=None)


def _galleries(training: Training) -> Iterator[Gallery]:
    classes = tuple(map(str, training.manifest.get("data", {}).get("classes", BINARY_CLASSES)))
    legend = css_entries(error_entries(classes))
    without = training.data is not None and training.data["constant_val_miou"] is None  # nothing is validated
    part = "Training" if without else "Validation"
    for name, records in reversed(tuple(training.records.items())):
        if records.samples is not None and records.samples.epochs:
            note = f"{part} pictures at the model's resolution, and what the network decided after some epochs."
            rows = tuple(_rows(records.samples, len(classes)))
            yield Gallery(name.replace(" ", "_"), f"What the {name} sees", note, rows, legend)


def _rows(samples: Samples, class_count: int) -> Iterator[PictureRow]:
    at = samples.epochs
    chosen = sorted({round(index * (len(at) - 1) / max(1, _SHOWN_EPOCHS - 1)) for index in range(_SHOWN_EPOCHS)})
    for number, (image, truth) in enumerate(zip(samples.images, samples.truth, strict=True)):
        picture = image if image.shape[2] == 3 else image.repeat(3, axis=2)
        tiles = [Tile("camera", picture, ""), Tile("truth", class_overlay(picture, truth, None, class_count), "")]
        for index in chosen:
            mask = samples.masks[index, number]
            shown = class_overlay(picture, mask, truth, class_count)
            tiles.append(Tile(f"epoch {at[index]}", shown, decision_score(mask, truth, class_count)))
        yield PictureRow(tuple(tile_view(tile) for tile in tiles))


def _tables(training: Training) -> Iterator[Table]:
    metrics = training.manifest.get("metrics", {})
    if metrics:
        keys = [key for key in next(iter(metrics.values())) if key == "miou" or key.startswith("iou_")]
        columns = (Cell("test part"), *(Cell(key.replace("miou", "mIoU").replace("_", " "), "n") for key in keys))
        rows = tuple(
            (Cell(_NAMES.get(name, name)), *(Cell(_percent(row[key]), "n") for key in keys))
            for name, row in metrics.items()
        )
        yield Table("scores", "Teacher, student and the constant mask", "In percent.", columns, rows)
    if training.data:
        splits = training.data["splits"]
        names = tuple(next(iter(splits.values()))["shares"])
        columns = (Cell("part"), Cell("pictures", "n"), *(Cell(f"{printable(name)}, %", "n") for name in names))
        rows = tuple(
            (Cell(name), Cell(f"{one['images']:,}", "n"), *(Cell(_percent(one["shares"][each]), "n") for each in names))
            for name, one in splits.items()
        )
        yield Table("data", f"Data: {printable(training.data['name'])}", "Share of the labelled pixels.", columns, rows)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
