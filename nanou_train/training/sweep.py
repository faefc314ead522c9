"""Run a hyperparameter sweep, one run after the other, and rank the runs by validation mIoU.

OUTPUT has a run folder for each point, sweep.csv and sweep.json. Runs that are complete already, of the same
configuration, data, seed and versions, are not repeated, so an interrupted sweep goes on. Where no swept key changes
the teacher's training, the first run's teacher serves all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import derived
from nanou_train.experiments.keys import short_names, sweep_points
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import LOCK
from nanou_train.training.train_network import History

SCHEMA = 1


@dataclass(frozen=True)
class SweepRow:
    """One run of a sweep: its folder's name, what it changed, its scores (None where it failed, with `error`)."""

    name: str
    overrides: Mapping[str, Any]
    val_miou: float | None
    test_miou: float | None
    error: str = ""


def run_sweep(
    config: ExperimentConfig,
    folder: Path,
    train_point: Callable[[ExperimentConfig, Path, int, int], None],
) -> tuple[SweepRow, ...]:
    """Run every point into FOLDER/NN_key-value, best validation mIoU first in the result.

    `train_point(config, folder, index, count)` trains one and raises TrainError where it cannot. Raises TrainError
    where every point failed.
    """
    there = {path.name for path in folder.iterdir()} - {LOCK} if folder.exists() else set()
    if there and "sweep.json" not in there:
        raise TrainError(f"{folder} exists and holds no sweep", hint="choose another output folder")
    folder.mkdir(parents=True, exist_ok=True)
    points = sweep_points(config)
    one_teacher = _one_teacher(config, points)
    rows: list[SweepRow] = []
    _write(folder, rows)
    teacher: Path | None = None
    for index, overrides in enumerate(points):
        place, changed = folder / point_name(index, overrides), short_names(overrides)
        chosen = derived(config, "sweep point", **overrides)
        if teacher is not None and chosen.trains_teacher:
            chosen = derived(chosen, "sweep point", teacher_weights=teacher)
        try:
            train_point(chosen, place, index, len(points))
            rows.append(_row(place, changed))
        except TrainError as error:
            rows.append(SweepRow(place.name, changed, None, None, str(error)))
        if teacher is None and one_teacher and (place / "teacher.keras").is_file():
            teacher = place / "teacher.keras"
        _write(folder, rows)
    if all(row.val_miou is None for row in rows):
        raise TrainError(f"every run of the sweep failed; the first: {rows[0].error}", hint="correct the experiment")
    return tuple(_ranked(rows))


def _one_teacher(config: ExperimentConfig, points: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all points train one and the same teacher."""
    teachers = (derived(derived(config, "sweep point", **point), "teacher").deciding() for point in points)
    first = next(teachers)
    return all(other == first for other in teachers)


def point_name(index: int, overrides: Mapping[str, Any]) -> str:
    """Name a run's folder after what it changes."""
    text = "_".join(f"{key}-{value}" for key, value in short_names(overrides).items())
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)
    return f"{index + 1:02d}_{plain}"[:100]


def _row(folder: Path, overrides: Mapping[str, Any]) -> SweepRow:
    test = run.read_manifest(folder)["metrics"]["student"]
    return SweepRow(folder.name, overrides, History.of_run(folder).val_miou, test["miou"])


def _ranked(rows: Sequence[SweepRow]) -> list[SweepRow]:
    return sorted(rows, key=lambda row: -1.0 if row.val_miou is None else row.val_miou, reverse=True)


def _write(folder: Path, rows: Sequence[SweepRow]) -> None:
    ranked = _ranked(rows)
    best = ranked[0].name if ranked and ranked[0].val_miou is not None else ""
    run.write_json(folder / "sweep.json", {"schema": SCHEMA, "best": best, "runs": [asdict(row) for row in ranked]})
    if ranked:
        table = [{**asdict(row), "overrides": json.dumps(dict(row.overrides), default=str)} for row in ranked]
        run.write_csv(folder / "sweep.csv", table)
