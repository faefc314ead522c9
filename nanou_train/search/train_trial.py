"""Trains the network of a search's trial: weights from the parent run, a short distillation, mIoU at the parent's size.

Candidates are compared on the parent's validation masks: the decisions of one of another size are enlarged or reduced
to it by nearest neighbour, as whoever uses them on the device would. What does not depend on the candidate (the
teacher's answers, what was measured for choosing channels) is computed once, and the answers are kept on disk for all.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.start_tensorflow import import_tensorflow
from nanou_train.data.dataset import Dataset, DatasetSpec, Split, load_dataset, terrain_dataset
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import decide
from nanou_train.evaluation.metrics import Metrics, segmentation_metrics
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import derived
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.channel_graph import producer_layer, readers
from nanou_train.networks.saving import load_model, save_model
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.evidence import Evidence, absorb
from nanou_train.pruning.importance import Importance, channel_importance
from nanou_train.pruning.inherit import inherit
from nanou_train.pruning.prune_run import DEFAULT_CRITERION, Source, open_source
from nanou_train.runs import run_folder as run
from nanou_train.search.search import Job
from nanou_train.training.soft_teacher import soft_answers
from nanou_train.training.teacher_views import Views, make_views
from nanou_train.training.train_network import train_with_distillation

if TYPE_CHECKING:
    import keras

STATE = "student.npz"


@dataclass(frozen=True, eq=False)
class Parent:
    """The run that candidates come from, opened, with what its channels are worth."""

    source: Source
    structure: Structure
    importance: Importance
    evidence: Evidence


@dataclass(frozen=True)
class TrialTraining:
    """The training half of an `Evaluator` (nanou_train.search.search). `cache` is a folder for the teacher's answers.

    Everything but the number of epochs is the parent run's own configuration, from `learning_rate`'s beginning (None:
    the parent's).
    """

    parent: Path
    data: Path | None
    cache: Path
    learning_rate: float | None = None
    seed: int = 0

    def evaluate(self, job: Job) -> float:
        """Train the candidate rung by rung; mIoU of the last one, on the parent's validation masks."""
        tf = import_tensorflow()  # in a worker, the first to do so
        import keras

        keras.backend.clear_session()  # graphs of the candidates before
        tf.config.experimental.enable_op_determinism()
        parent = open_parent(self.parent, self.data)
        size = job.structure.input_shape[:2]
        dataset = dataset_at(self.parent, self.data, size)
        keras.utils.set_random_seed(self.seed)  # filters of a new skip are drawn
        student = inherited(parent, job.structure)
        job.folder.mkdir(parents=True, exist_ok=True)
        rungs = {epochs: rung for rung, epochs in enumerate(job.rungs)}

        def validate(model: keras.Model, epoch: int) -> float | None:
            if epoch not in rungs:
                return None
            miou = miou_at(model, dataset.val, parent.source)
            model.stop_training = not job.reached(rungs[epoch], miou)
            return miou

        config = candidate_config(parent.source.config, job, self.learning_rate)
        result = train_with_distillation(
            student,
            views_at(self.parent, self.data, size, self.cache),
            config,
            dataset.train,
            validate=validate,
            seed=self.seed,
            state_path=job.folder / STATE,
        )
        rows = [row for row in result.history if "val_miou" in row]
        if len(result.history) == job.rungs[-1]:
            _leave_run(job.folder, student, config, parent.source, dataset, rows[-1]["val_miou"])
        else:
            (job.folder / STATE).unlink(missing_ok=True)
        return rows[-1]["val_miou"]


@functools.cache
def open_parent(folder: Path, data: Path | None) -> Parent:
    """Open a completed run, once per process. Raises TrainError."""
    source = open_source(folder, data_root=data)
    if source.dataset.validation is None:
        raise TrainError(
            f"{folder} was trained on its validation part: no pictures are left to choose candidates by",
            hint="search from a run without data.train_on_validation",
        )
    evidence = source.evidence_of(source.student)
    importance = channel_importance(source.student, DEFAULT_CRITERION, evidence)
    return Parent(source, structure_of(source.student), importance, evidence)


@functools.cache
def dataset_at(folder: Path, data: Path | None, size: tuple[int, int]) -> Dataset:
    """Return the run's data in another size (height, width), read or rendered again, once per process."""
    manifest = run.read_manifest(folder)
    contract, stated = run.preprocessing(manifest), manifest["data"]["source"]
    if size == (contract.height_px, contract.width_px):
        return open_parent(folder, data).source.dataset
    height, width = size
    if data is None and stated["kind"] == "terrain":
        return terrain_dataset(
            stated["counts"], seed=stated["seed"], height_px=height, width_px=width, channels=contract.channels
        )
    contract = replace(contract, height_px=height, width_px=width)
    return load_dataset(DatasetSpec.of(data or Path(stated["root"]), contract))


def inherited(parent: Parent, structure: Structure) -> keras.Model:
    """Return a model of `structure` with the parent's weights; channels that stay take over for those that go."""
    student = parent.source.student
    widths, keep = {reader.name: reader.width for reader in readers(structure)}, {}
    for reader in readers(parent.structure):
        scores = parent.importance.get(producer_layer(parent.structure, reader.name))
        if scores is not None and widths.get(reader.name, reader.width) < reader.width:
            best = np.argsort(-scores, kind="stable")[: widths[reader.name]]
            keep[reader.name] = tuple(sorted(best.tolist()))
    own = student.get_weights()
    absorb(student, keep, parent.evidence)
    model = inherit(student, structure, parent.importance)
    student.set_weights(own)
    return model


def candidate_config(config: ExperimentConfig, job: Job, learning_rate: float | None) -> ExperimentConfig:
    """Return the parent's configuration for a candidate's few epochs."""
    height, width, channels = job.structure.input_shape
    return derived(
        config,
        "candidate",
        epochs=job.rungs[-1],
        input_size=(height, width),
        input_channels=channels,
        learning_rate=learning_rate or config.student.learning_rate,
    )


@functools.cache
def views_at(folder: Path, data: Path | None, size: tuple[int, int], cache: Path) -> Views | None:
    """Compute the teacher's answers to views in another size, once per process; None without a teacher.

    They are kept in `cache` and mapped from there, so that workers of one computer share them in memory.
    """
    source = open_parent(folder, data).source
    config = derived(source.config, "candidate")
    if source.teacher_path is None:
        contract = replace(run.preprocessing(source.manifest), height_px=size[0], width_px=size[1])
        return soft_answers(config, dataset_at(folder, data, size), contract)
    return make_views(load_model(source.teacher_path), dataset_at(folder, data, size).train, config, cache=cache)


def miou_at(model: keras.Model, images: Split, source: Source) -> float:
    return metrics_at(
        decide(model, images.images, preprocessing_of(model), source.config.student.threshold),
        source.dataset.val,
        source.dataset,
    )["miou"]


def metrics_at(decided: npt.NDArray[np.uint8], truth: Split, dataset: Dataset) -> Metrics:
    """Metrics of decisions (N, h, w) of any size against masks of `truth`, by nearest neighbour."""
    _, height, width = truth.masks.shape
    rows = (np.arange(height) * 2 + 1) * decided.shape[1] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * decided.shape[2] // (2 * width)
    return segmentation_metrics(truth.masks, decided[:, rows][:, :, columns], dataset.classes)


def _leave_run(
    folder: Path, student: keras.Model, config: ExperimentConfig, source: Source, dataset: Dataset, val_miou: float
) -> None:
    """Make a completed run of a candidate that came to its end, so that training can start from it."""
    facts = run.describe_run(config, dataset, preprocessing_of(student), source.manifest["seed"])
    facts |= {"experiment": source.manifest["experiment"], "trial": {"val_miou": val_miou}}
    save_model(student, folder / "student.keras")
    weights = {"student": run.weights_sha256(student)}
    run.write_manifest(folder, {**facts, "status": "completed", "weights": weights, "metrics": {}})


def parent_facts(parent: Parent) -> Mapping[str, Any]:
    """Return what all workers must have in common about the parent; JSON types only."""
    manifest = parent.source.manifest
    return {"parent": manifest["weights"]["student"], "data": manifest["data"]["train"]["sha256"]}
