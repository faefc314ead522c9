"""Trains the best networks of a search's Pareto front to the end, each as an ordinary run, OUTPUT/points/NN.

Shared among workers as the search itself: a second study on the same storage has one trial for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import derived
from nanou_train.pruning.prune_run import Source
from nanou_train.runs import run_folder as run
from nanou_train.runs.interrupts import sigterm_interrupts
from nanou_train.search.attempts import counted_roots, counts_of, root_of
from nanou_train.search.optimize import optimize
from nanou_train.search.processes import work_in_processes
from nanou_train.search.search import SearchSettings
from nanou_train.search.search_result import Progress, TrialResult
from nanou_train.search.storage import open_storage
from nanou_train.search.study import join_study, make_sampler
from nanou_train.search.train_trial import dataset_at, open_parent

if TYPE_CHECKING:
    import optuna

POINTS = "points"


@dataclass(frozen=True)
class FrontTraining:
    """What is trained (`chosen`, as points from 1 on), from which parent, for how long."""

    search: SearchSettings
    chosen: tuple[TrialResult, ...]
    parent: Path
    data: Path | None
    epochs: int

    def folder(self, index: int) -> Path:
        return self.search.output / POINTS / f"{index + 1:02d}"


def train_front(settings: FrontTraining, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Train all points, here or elsewhere; one that fails is left out. Interrupted, the same call goes on.

    Raises ConfigError where this was begun with other epochs or networks, and else as `run_search`.
    """
    study, count = _open_points(settings), len(settings.chosen)

    def report() -> None:
        if progress is not None:
            complete = counts_of(study.get_trials(deepcopy=False), count).complete
            progress(f"{complete} of {count} points trained", complete / count)

    with sigterm_interrupts():
        if workers == 1:
            _work(settings, study, progress)
        else:
            work_in_processes(partial(_work, settings), study, count, workers=workers, report=report)


def _open_points(settings: FrontTraining) -> optuna.Study:
    search = settings.search
    return join_study(
        open_storage(search.place, search.heartbeat_s),
        f"{search.name} points of {settings.epochs} epochs",
        {"miou": "maximize"},
        {"candidates": [one.key for one in settings.chosen], "parent": search.facts.get("parent")},
        sampler=make_sampler("random", search.seed, len(settings.chosen)),
    )


def _work(settings: FrontTraining, study: optuna.Study | None = None, progress: Progress | None = None) -> None:
    study, count = study or _open_points(settings), len(settings.chosen)

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        trials = study.get_trials(deepcopy=False)
        index = counted_roots(trials, count).index(root_of(trials[trial.number]))
        complete = counts_of(trials, count).complete

        def tell(message: str, done: float) -> None:
            if progress is not None:
                progress(f"point {index + 1} of {count}: {message}", min(1.0, (complete + done) / count))

        return (train_point(settings, index, tell),)

    optimize(study, count, objective)


def train_point(settings: FrontTraining, index: int, progress: Progress) -> float:
    """One point as a run folder; validation mIoU at its own size. A completed one is taken as it is."""
    from nanou_train.training.train import train_experiment

    candidate = settings.chosen[index]
    source = open_parent(settings.parent, settings.data).source
    start = settings.search.output / "trials" / f"{candidate.number:05d}"
    if not (start / run.MANIFEST).is_file():
        raise TrainError(
            f"the weights of trial {candidate.number} are not in {start}",
            hint="let all workers use one output folder on a shared disk",
        )
    dataset = dataset_at(settings.parent, settings.data, candidate.structure.input_shape[:2])
    place = settings.folder(index)
    notes = {"made_by": "search", "search": {"trial": candidate.number, "key": candidate.key}}
    result = train_experiment(
        point_config(settings, source, start, candidate),
        name=source.manifest["experiment"],
        data_root=settings.data,
        dataset=replace(dataset, name=source.dataset.name),
        folder=place,
        seed=settings.search.seed,
        progress=progress,
        force=True,  # a part of this search
        notes=notes,
    )
    if result["status"] != "completed":
        raise TrainError(f"point {index + 1}: {result['error']}")
    return float(result["final_metrics"]["student"]["miou"])


def point_config(settings: FrontTraining, source: Source, start: Path, candidate: TrialResult) -> ExperimentConfig:
    """Derive a configuration that goes on from a candidate; the teacher sees pictures of another size resized."""
    height, width, channels = candidate.structure.input_shape
    return derived(
        source.config,
        "front point",
        output_dir=settings.search.output,
        start_from=start,
        teacher_weights=source.teacher_path,
        epochs=settings.epochs,
        input_size=(height, width),
        input_channels=channels,
    )
