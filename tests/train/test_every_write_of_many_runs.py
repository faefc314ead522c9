"""Killed, or on a full disk, at every write of `prune` and `search`: what is there is old or new, and goes on.

Training itself is left out, so that each of some hundred ends takes moments: a round, or a trial, leaves a run whose
student is the one that it began with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import create_nano_u, preprocessing_of
from nanou_train.networks.saving import load_model
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning import prune_run as pruning
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import LOCK, locked
from nanou_train.search import optimize, search, storage, train_front
from nanou_train.search.pareto import Point, read_front, write_front
from nanou_train.search.search import Job, SearchSettings, run_search
from nanou_train.search.search_result import select
from nanou_train.search.space import Space
from nanou_train.training.train import TrainResult, _completed, _finish
from nanou_train.training.train_network import History
from tests.train.test_every_write import _exchange_is_a_write, at_every_write  # noqa: F401

SIZE = (12, 16)
SOAK = pytest.mark.soak
ENDS = pytest.mark.parametrize(
    ("kind", "step"), [("killed", 23), pytest.param("killed", 1, marks=SOAK), pytest.param("full", 1, marks=SOAK)]
)
HISTORY = History(({"epoch": 1.0, "val_miou": 0.5},), 1)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> pruning.Source:
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("runs") / "parent"
    dataset = terrain_dataset({"train": 4, "val": 2, "test": 2}, seed=0, height_px=SIZE[0], width_px=SIZE[1])
    student = create_nano_u((*SIZE, 3), [8], 8)
    config = as_config({"use_distillation": False, "quantization_aware": False})
    facts = run.describe_run(config, dataset, preprocessing_of(student), 0) | {"experiment": "x"}
    run.start_run(folder, facts)
    _finish(folder, facts, config, {"student": student}, {"student": HISTORY}, {"student": {"miou": 0.5}})
    return pruning.open_source(folder, dataset=dataset)


def untrained(
    config: ExperimentConfig,
    *,
    name: str,
    dataset: Dataset,
    folder: Path,
    seed: int,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
    **_: object,
) -> TrainResult:
    """`train_experiment` without training: everything that it reads and writes."""
    assert config.student.start_from is not None
    student = load_model(Path(config.student.start_from) / "student.keras")
    contract = preprocessing_of(student)
    facts = run.describe_run(config, dataset, contract, seed) | {"experiment": name, **(notes or {})}
    metrics = run.completed_metrics(folder, facts)
    if metrics is None:
        metrics = {"student": {"miou": 0.5}}
        with locked(folder):
            run.start_run(folder, facts, force=force)
            _finish(folder, facts, config, {"student": student}, {"student": HISTORY}, metrics)
    return _completed(folder, metrics)


def completed(folder: Path) -> object:
    """What a reader takes for the run; None where it takes it for none."""
    try:
        manifest, weights = run.read_manifest(folder), run.weights_sha256(run.load_student(folder))
    except TrainError:
        return None
    return json.dumps([manifest, weights, (folder / "metrics.json").read_text()], sort_keys=True)


@ENDS
def test_prune(kind: str, step: int, parent: pruning.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: dict[str, Any] = {}
    cut_student = pruning.cut_student

    def cut_once(source: pruning.Source, student: Any, target_cost: float, settings: Any) -> Any:
        """Cutting writes nothing, and takes as long as all else."""
        key = f"{run.weights_sha256(student)} {target_cost}"
        if key not in cuts:
            cuts[key] = cut_student(source, student, target_cost, settings)
        return cuts[key]

    monkeypatch.setattr(pruning, "cut_student", cut_once)
    monkeypatch.setattr(pruning, "train_experiment", untrained)
    monkeypatch.setattr(pruning, "open_source", lambda *_arguments, **_options: parent)
    folder, settings = tmp_path / "work", pruning.PruneSettings(to=0.6, rounds=2, epochs=1, final_epochs=1)
    folder.mkdir()

    def state() -> object:
        found = completed(folder / "narrow")
        if found is not None:  # then the record of its rounds is there as well
            record = json.loads((folder / "narrow/pruning.json").read_text())
            assert [one["cost_after"] for one in record["rounds"]] == sorted(
                (one["cost_after"] for one in record["rounds"]), reverse=True
            )
        return found

    prune = lambda: pruning.prune_run(tmp_path / "parent", folder / "narrow", settings)  # noqa: E731
    at_every_write(kind, folder, prune, state, step=step)
    record = json.loads((folder / "narrow/pruning.json").read_text())
    assert [one["miou_trained"] for one in record["rounds"]] == [0.5, 0.5]


class Invented:
    """Costs and scores of any network, and the run that a trial leaves."""

    def __init__(self, source: pruning.Source) -> None:
        self._source = source

    def cost(self, structure: Structure) -> Mapping[str, float]:
        width = float(sum(block.width for block in structure.bottleneck))
        return {"instructions": 100 * width, "ram_bytes": 10 * width}

    def evaluate(self, job: Job) -> float:
        job.folder.mkdir(parents=True, exist_ok=True)
        miou = 0.5 + job.structure.bottleneck[0].width / 100
        facts = run.describe_run(self._source.config, self._source.dataset, preprocessing_of(self._source.student), 0)
        shutil.copyfile(self._source_student, job.folder / "student.keras")
        weights = {"student": run.weights_sha256(self._source.student)}
        run.write_manifest(job.folder, {**facts, "status": "completed", "weights": weights, "metrics": {}})
        for rung in range(len(job.rungs)):
            job.reached(rung, miou)
        return miou

    _source_student: Path


@ENDS
def test_search(kind: str, step: int, parent: pruning.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal, its trials, its points and its front; a dead worker's trial is taken up at once."""
    pytest.importorskip("optuna")
    for module, name, value in (
        (storage, "GRACE", 0), (storage, "LOCK_GRACE", 0.01), (optimize, "LOOK_S", 0.001), (optimize, "LOST_S", 0.001),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(storage.HeartbeatJournal, "record_heartbeat", lambda *_: None)  # of a thread of its own
    monkeypatch.setattr("nanou_train.training.train.train_experiment", untrained)
    monkeypatch.setattr(train_front, "open_parent", lambda *_: SimpleParent(parent))
    monkeypatch.setattr(train_front, "dataset_at", lambda *_: parent.dataset)
    folder, out = tmp_path / "work", tmp_path / "work" / "found"
    folder.mkdir()
    student = tmp_path / "student.keras"
    parent.student.save(student)
    evaluator = Invented(parent)
    evaluator._source_student = student
    space = Space(structure_of(parent.student), vary=("width",))
    settings = SearchSettings(
        "found", out, space, 2, minimize=("instructions",), rungs=(1,), sampler="random", heartbeat_s=1
    )

    def find() -> None:
        result = run_search(settings, evaluator)
        chosen = select(result, settings.minimize, 1)
        front = train_front.FrontTraining(settings, chosen, tmp_path / "parent", None, 1)
        train_front.train_front(front)
        points = []
        for index, one in enumerate(chosen):
            place = front.folder(index)
            assert completed(place) is not None
            points.append(Point("p", place.name, one.structure, 1, one.miou, None, None, 1, {}, "search", SIZE))
        write_front(out / "pareto.json", points)

    def state() -> object:
        """The front, and that whoever looks at the study can read it, and finds no trial twice."""
        if (out / search.JOURNAL).is_file():
            found = search.result_of(search.open_search(settings), settings.trials, settings.minimize)
            assert found.counts.complete <= settings.trials
            assert len({one.number for one in found.candidates}) == len(found.candidates)
        if not (out / "pareto.json").is_file():
            return None
        (point,) = read_front(out).points
        assert completed(out / "points/01") is not None
        return replace(point, structure=space.parent, val_miou=0.0)  # which one is drawn depends on who was killed

    at_every_write(kind, folder, find, state, step=step)
    assert not (out / LOCK).exists()


class SimpleParent:
    """What of a search's parent a point's training reads."""

    def __init__(self, source: pruning.Source) -> None:
        self.source = source
