"""Prune the student of a completed run in rounds: score channels, cut, distil again.

Each round removes channels to its share of the way and trains what is left with the run's own configuration and
teacher, from the learning rate's beginning (Renda et al. 2020, arXiv 2003.02389: rewinding it recovers most). The last
round trains longest and is the result, a run folder like any other. OUTPUT/rounds/NN/cut is a round's network right
after the cut, OUTPUT/rounds/NN/trained the same after distillation; those that are complete are not made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanou_train.data.dataset import Dataset, Split
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import evaluate_model
from nanou_train.experiments.config import ExperimentConfig, Prune
from nanou_train.experiments.derived import derived
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.channel_graph import producer_layer, structure_macs
from nanou_train.networks.saving import load_model, save_model
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.budget import CostFunction, plan_cut, uniform_cut
from nanou_train.pruning.evidence import Evidence, absorb, effective_ranks, gather_evidence
from nanou_train.pruning.importance import channel_importance
from nanou_train.pruning.prune import prune_channels
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import check_apart, locked
from nanou_train.training.soft_teacher import soft_answers
from nanou_train.training.teacher_views import teacher_logits
from nanou_train.training.train import train_experiment
from nanou_train.training.train_network import History, Progress

if TYPE_CHECKING:
    import keras

EVIDENCE_IMAGES = 128
DEFAULT_CRITERION = Prune().criterion


class PruneSettings(Prune):
    """Settings of `prune_run`; `cost` names what `to` is a share of."""

    cost: str = "macs"
    seed: int = 0


@dataclass(frozen=True)
class Round:
    """One round: structures and costs before and after its cut; validation mIoU before, right after the cut, and
    after distillation (None where that has not been done, or nothing is left to validate with). `ranks` is the
    effective rank of each block's channels before the cut, of at most as many as there are.
    """

    before: Structure
    after: Structure
    cost_before: float
    cost_after: float
    miou_before: float | None
    miou_cut: float | None
    miou_trained: float | None
    ranks: Mapping[str, float]


@dataclass(frozen=True)
class PruneResult:
    """The rounds, and the completed run that they led to."""

    folder: Path
    rounds: tuple[Round, ...]
    metrics: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """What pruning needs of a completed run. `teacher` is None for a run without one."""

    manifest: Mapping[str, Any]
    config: ExperimentConfig
    dataset: Dataset
    student: keras.Model
    teacher_path: Path | None
    cost: CostFunction

    def evidence_of(self, student: keras.Model) -> Evidence:
        """Gather statistics over training images, evenly spaced."""
        train = self.dataset.train
        chosen = np.linspace(0, len(train) - 1, min(EVIDENCE_IMAGES, len(train))).astype(int)
        images, logits = train.images[chosen], None
        if self.teacher_path is not None:
            logits = teacher_logits(load_model(self.teacher_path), images)
        elif (answers := soft_answers(self.config, self.dataset, run.preprocessing(self.manifest))) is not None:
            logits = answers.logits[0, chosen].astype(np.float32)
        x = preprocessing_of(student).normalize(images)
        weights = {"alpha": self.config.distillation.alpha, "temperature": self.config.distillation.temperature}
        return gather_evidence(student, x, train.masks[chosen], logits, **weights)

    def miou(self, student: keras.Model, split: Split) -> float:
        return float(self.metrics(student, split)["miou"])

    def validation_miou(self, student: keras.Model) -> float | None:
        """None where the validation part was trained on."""
        val = self.dataset.validation
        return None if val is None else self.miou(student, val)

    def metrics(self, student: keras.Model, split: Split) -> Mapping[str, Any]:
        contract = preprocessing_of(student)
        threshold, classes = self.config.student.threshold, self.dataset.classes
        return evaluate_model(student, split.images, split.masks, contract, threshold=threshold, classes=classes)


def open_source(
    folder: Path,
    *,
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    cost: CostFunction = structure_macs,
) -> Source:
    """Open a completed run with its data. Raises TrainError, also where its teacher is gone."""
    manifest = run.read_manifest(folder)
    student = run.load_student(folder)
    found = run.run_dataset(manifest, data_root, dataset)
    config = run.configuration(manifest)
    teacher = None
    if config.distillation.enabled and config.teacher.soft_masks is None:
        teacher = folder / "teacher.keras"
        if not teacher.is_file():
            raise TrainError(f"{folder} was distilled, and its teacher.keras is gone", hint="train the run again")
    return Source(manifest, config, found, student, teacher, cache(cost))


def cut_student(
    source: Source, student: keras.Model, target_cost: float, settings: PruneSettings
) -> tuple[keras.Model, Round]:
    """Copy a student narrower, to at most `target_cost`, before any training; also returns what was measured."""
    structure = structure_of(student)
    evidence = source.evidence_of(student)
    importance = channel_importance(student, settings.criterion, evidence, seed=settings.seed)
    plan = plan_cut if settings.layers == "greedy" else uniform_cut
    cut = plan(structure, importance, target_cost, source.cost)
    copy = prune_channels(student, {})
    if settings.absorb:
        absorb(copy, cut.keep, evidence)
    narrow = prune_channels(copy, {producer_layer(structure, name): keep for name, keep in cut.keep.items()})
    return narrow, Round(
        before=structure,
        after=cut.structure,
        cost_before=cut.cost_before,
        cost_after=cut.cost_after,
        miou_before=source.validation_miou(student),
        miou_cut=source.validation_miou(narrow),
        miou_trained=None,
        ranks=effective_ranks(structure, evidence),
    )


def preview_cut(source: Source, settings: PruneSettings) -> Round:
    """Preview the whole way in one cut, without training; writes nothing."""
    target = settings.to * source.cost(structure_of(source.student))
    return cut_student(source, source.student, target, settings)[1]


def prune_run(
    folder: Path,
    output: Path,
    settings: PruneSettings,
    *,
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    cost: CostFunction = structure_macs,
    force: bool = False,
    progress: Progress | None = None,
) -> PruneResult:
    """Prune the student of the completed run `folder` into the run folder `output`, training included.

    The same call goes on where an earlier one was interrupted. Raises TrainError for a run that is not complete, data
    that are not the run's, a cost that cannot be reached, and an output folder that holds something else: a completed
    run, other than of this very call, without `force`.
    """
    check_apart(output, folder)
    source = open_source(folder, data_root=data_root, dataset=dataset, cost=cost)
    notes = {"pruning": {**settings.model_dump(), "from": source.manifest["weights"]["student"]}}
    facts = {**_described(source), **notes}
    own = ("pruning", "data", "versions")
    with locked(output):
        if not run.is_unfinished(output) and not run.is_completed(output, {key: facts[key] for key in own}):
            run.start_run(output, facts, force=force)
        return _prune(source, output, settings, notes, progress or _silent)


def _prune(
    source: Source, output: Path, settings: PruneSettings, notes: dict[str, Any], progress: Progress
) -> PruneResult:
    epochs = settings.epochs or max(1, source.config.student.epochs // 10)
    final_epochs = settings.final_epochs or max(1, source.config.student.epochs // 2)
    base, total = source.cost(structure_of(source.student)), epochs * (settings.rounds - 1) + final_epochs
    student, rounds = source.student, list[Round]()
    for number in range(1, settings.rounds + 1):
        is_last = number == settings.rounds
        place = output / "rounds" / f"{number:02}"
        target = base * settings.to ** (number / settings.rounds)
        cut = _cut_round(source, student, target, settings, place / "cut", {**notes, "round": number})
        done, own = (number - 1) * epochs, final_epochs if is_last else epochs

        def part(message: str, fraction: float, done: int = done, own: int = own, number: int = number) -> None:
            progress(f"round {number} of {settings.rounds}: {message}", (done + fraction * own) / total)

        target_folder = output if is_last else place / "trained"
        if is_last:  # so that there is no completed run without it
            _record(output, notes, [*rounds, cut])
        result = train_experiment(
            _round_config(source, place / "cut", own, output.parent),
            name=source.manifest["experiment"],
            data_root=None,
            dataset=source.dataset,
            folder=target_folder,
            seed=settings.seed,
            progress=part,
            force=True,  # part of this run, or the folder that it has claimed
            notes=notes,
        )
        rounds.append(_finished(cut, target_folder))
        student = run.load_student(target_folder)
    _record(output, notes, rounds)
    return PruneResult(output, tuple(rounds), result["final_metrics"])


def _record(output: Path, notes: Mapping[str, Any], rounds: Sequence[Round]) -> None:
    """Write pruning.json; the last round's mIoU comes once it is trained."""
    run.write_json(
        output / "pruning.json", {"schema": 1, **notes["pruning"], "rounds": [asdict(one) for one in rounds]}
    )


def _described(source: Source) -> dict[str, Any]:
    """Return what a run folder says of itself that is the same before and after pruning."""
    kept = ("seed", "data", "preprocessing", "versions", "experiment")
    return {"configuration": source.config.recorded(), **{key: source.manifest[key] for key in kept}}


def _round_config(source: Source, start_from: Path, epochs: int, output_dir: Path) -> ExperimentConfig:
    """Derive the configuration for some epochs from another student; `output_dir` keeps a teacher's answers."""
    return derived(
        source.config,
        "pruning round",
        output_dir=output_dir,
        start_from=start_from,
        teacher_weights=source.teacher_path,
        epochs=epochs,
    )


def _cut_round(
    source: Source,
    student: keras.Model,
    target_cost: float,
    settings: PruneSettings,
    place: Path,
    notes: dict[str, Any],
) -> Round:
    """Cut, measure and write down; or read what an interrupted call has left."""
    facts = {**_described(source), **notes, "cut_from": run.weights_sha256(student)}
    if run.completed_metrics(place, facts) is not None:
        return round_of(run.read_manifest(place)["cut"])
    run.start_run(place, facts, force=True)
    narrow, found = cut_student(source, student, target_cost, settings)
    save_model(narrow, place / "student.keras")
    described = {"metrics": {"student": source.metrics(narrow, source.dataset.test)}, "cut": asdict(found)}
    weights = {"student": run.weights_sha256(narrow)}
    run.write_manifest(place, {**facts, **described, "weights": weights, "status": "completed"})
    return found


def round_of(values: Mapping[str, Any]) -> Round:
    """Invert `asdict` of a Round."""
    structures = {key: Structure.from_json(values[key]) for key in ("before", "after")}
    return Round(**{**values, **structures})


def _silent(_message: str, _done: float) -> None:
    """Ignore progress."""


def _finished(cut: Round, folder: Path) -> Round:
    """Return a round with the validation mIoU of the weights that its training kept."""
    return replace(cut, miou_trained=History.of_run(folder).kept.get("val_miou"))
