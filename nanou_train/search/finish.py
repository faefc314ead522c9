"""The last part of a search: the best candidates of its front, each trained as an ordinary run, OUTPUT/points/NN.

Shared among workers as the search itself: a second study on the same storage has one trial for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import derived
from nanou_train.pruning.prune_run import Source
from nanou_train.runs import run_folder as run
from nanou_train.search.candidate import dataset_at, open_parent
from nanou_train.search.ledger import Claim, Ledger
from nanou_train.search.search import SearchSettings
from nanou_train.search.search_result import Candidate, Progress
from nanou_train.search.serve import Check, Outcome, serve
from nanou_train.search.study import join_study, make_sampler, open_storage
from nanou_train.search.worker import Worker

POINTS = "points"


@dataclass(frozen=True)
class FinishSettings:
    """What is trained (`candidates`, in the order of their numbers from 1), from which parent, for how long."""

    search: SearchSettings
    candidates: tuple[Candidate, ...]
    parent: Path
    data: Path | None
    epochs: int

    def folder(self, index: int) -> Path:
        return self.search.output / POINTS / f"{index + 1:02d}"


def open_points(settings: FinishSettings, worker: Worker) -> Ledger:
    """Begin this part, or join it. Raises ConfigError where it was begun with other epochs or candidates."""
    search, count = settings.search, len(settings.candidates)
    study = join_study(
        open_storage(search.place),
        f"{search.name} points of {settings.epochs} epochs",
        {"miou": "maximize"},
        {"candidates": [one.key for one in settings.candidates], "parent": search.facts.get("parent")},
        sampler=make_sampler("random", search.seed, count),
    )
    return Ledger(study, {}, count, worker)


def finish_work(
    settings: FinishSettings, *, progress: Progress | None = None, should_stop: Callable[[], bool] = lambda: False
) -> int:
    """Train points until none is left anywhere; how many this worker has trained. Raises as `serve`."""
    ledger = open_points(settings, Worker.here(settings.search.beat_s))

    def evaluate(claim: Claim, check: Check) -> Outcome:
        index = ledger.rank(claim)

        def told(message: str, done: float) -> None:
            check()
            if progress is not None:
                counts = ledger.counts()
                told = f"point {index + 1} of {counts.total}: {message}"
                progress(told, min(1.0, (counts.complete + done) / counts.total))

        return Outcome((train_point(settings, index, told),))

    return serve(ledger, evaluate, should_stop=should_stop)


def train_point(settings: FinishSettings, index: int, progress: Progress) -> float:
    """One point as a run folder; validation mIoU at its own size. A completed one is taken as it is."""
    from nanou_train.training.train import train_experiment

    candidate = settings.candidates[index]
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
        reuse=True,
        notes=notes,
    )
    if result["status"] != "completed":
        raise TrainError(f"point {index + 1}: {result['error']}")
    return float(result["final_metrics"]["student"]["miou"])


def point_config(settings: FinishSettings, source: Source, start: Path, candidate: Candidate) -> ExperimentConfig:
    """The parent's configuration, to go on from a candidate; the teacher sees pictures of another size resized."""
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
