"""Train an experiment into a run folder: student, teacher if any, metrics and manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from codegen.start_tensorflow import import_tensorflow
from nanou_train.data.augment import Pixels
from nanou_train.data.dataset import Dataset
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import (
    Metrics,
    constant_mask,
    decide,
    keras_predictor,
    segmentation_metrics,
    squeezed,
)
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, load_experiment
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.distribution import find_strategy, is_chief
from nanou_train.networks.saving import save_model
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import check_apart, locked
from nanou_train.runs.constraints import check_run, violation
from nanou_train.runs.interrupts import interrupts_repeated
from nanou_train.runs.records import record_data
from nanou_train.training.distillation import train_step
from nanou_train.training.ensemble import train_teacher_from_seeds
from nanou_train.training.restarts import train_student_from_seeds
from nanou_train.training.soft_teacher import soft_answers
from nanou_train.training.start import grow_gpu_memory, load_training_data
from nanou_train.training.sweep import run_sweep
from nanou_train.training.teacher_and_student import (
    RunInputs,
    train_student,
    train_teacher,
    train_teacher_and_student,
)
from nanou_train.training.teacher_views import teacher_logits
from nanou_train.training.train_network import History, Progress, train_single_model, train_with_distillation
from nanou_train.training.unlabelled import read_unlabelled

if TYPE_CHECKING:
    import keras

__all__ = ["TrainResult", "train_model", "train_single_model", "train_step", "train_with_distillation"]


class TrainResult(TypedDict):
    """Outcome of `train_model`. `status` is "completed" or "failed"; `error` is empty unless it failed.

    `final_metrics` are test metrics of `student`, `teacher` (with distillation) and `constant_mask`.
    """

    status: str
    model_path: Path | None
    final_metrics: dict[str, Metrics]
    experiment_dir: Path
    error: str


def train_model(
    config_path: str | Path = DEFAULT_CONFIG,
    experiment_name: str = "default",
    *,
    data_root: str | Path | None = None,
    dataset: Dataset | None = None,
    output_dir: str | Path | None = None,
    run_name: str = "",
    seed: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> TrainResult:
    """Run one experiment into OUTPUT_DIR/RUN_NAME (default: the experiment's name); `run_folder` has the files.

    `output_dir` and `seed` are by default the experiment's. Data are the folder `data_root`, or else the embedded
    terrain; `dataset` gives them already loaded. `overrides` replace keys of the experiment. A folder with an
    interrupted run of just this configuration, data, seed and versions is continued, to the same weights as without the
    interruption. A completed one of these is taken as it is; one of others is replaced with `force` alone.

    A sweep runs each of its points into a folder below, and the result is the best one's (nanou_train.training.sweep).
    A run that does not meet its constraints has status "failed", and `error` says why; the trained model stays. An
    intended error (configuration, data, folder) does not raise: it comes back as status "failed" with `error`, and in
    the manifest if the run had begun. Raises CodegenError where TensorFlow is not installed; anything else is a bug and
    propagates.
    """
    folder = Path(output_dir or "runs") / (run_name or experiment_name)
    try:
        own = {"run.output_dir": output_dir, "run.seed": seed}
        given = overrides | {path: value for path, value in own.items() if value is not None}
        config = load_experiment(Path(config_path), experiment_name, given)
        folder = config.run.output_dir / (run_name or experiment_name)
        teacher, unlabelled = config.teacher, config.data.unlabelled
        check_apart(folder, config.student.start_from, teacher.weights, teacher.soft_masks, unlabelled)
        root, report = Path(data_root) if data_root else None, progress or _silent
        train = partial(train_experiment, name=experiment_name, data_root=root, dataset=dataset)
        if config.sweep:
            return _train_sweep(config, folder, train, report, force)
        return train(config, folder=folder, seed=config.run.seed, progress=report, force=force)
    except TrainError as error:
        return TrainResult(
            status="failed", model_path=None, final_metrics={}, experiment_dir=folder, error=error.advice
        )


def _train_sweep(
    config: ExperimentConfig, folder: Path, train: Callable[..., TrainResult], progress: Progress, force: bool
) -> TrainResult:
    """Train every point of a sweep; the result is the best one's, in the folder of all."""

    def train_point(point: ExperimentConfig, place: Path, index: int, count: int) -> None:
        def part(message: str, done: float) -> None:
            progress(f"run {index + 1} of {count}: {message}", (index + done) / count)

        result = train(point, folder=place, seed=point.run.seed, progress=part, force=force)
        if result["status"] != "completed":
            raise TrainError(result["error"])

    with locked(folder):
        best, *_ = run_sweep(config, folder, train_point)
    path = folder / best.name
    return {**_completed(path, run.read_manifest(path)["metrics"]), "experiment_dir": folder}


def train_experiment(
    config: ExperimentConfig,
    *,
    name: str,
    data_root: Path | None,
    dataset: Dataset | None,
    folder: Path,
    seed: int,
    progress: Progress,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train one run; a completed one of the very same description is taken as it is, `force` replaces others.

    `notes` are part of that description and of the manifest; JSON types only. Raises TrainError.
    """
    import_tensorflow()
    import keras
    import tensorflow as tf

    grow_gpu_memory()
    chief = is_chief(find_strategy(config.run.strategy))  # before TensorFlow's first operation
    contract, dataset = load_training_data(config, data_root, dataset, seed=seed, progress=progress)
    answers, unlabelled = soft_answers(config, dataset, contract), read_unlabelled(config, dataset, contract)
    said = {} if answers is None else {"soft_masks": answers.identity}
    said |= {} if unlabelled is None else {"unlabelled": unlabelled.sha256}
    facts = run.describe_run(config, dataset, contract, seed) | {"experiment": name, **said, **(notes or {})}
    metrics = run.completed_metrics(folder, facts)
    if metrics is None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        inputs = RunInputs(config, dataset, folder, seed, name, answers, unlabelled)
        with locked(folder) if chief else nullcontext(), interrupts_repeated(progress) as reported:
            if chief:
                run.start_run(folder, facts, force=force)
            metrics = _train_and_measure(inputs, facts, chief, reported)
    if not chief:
        return _completed(folder, metrics)
    return _held_to_constraints(config, _completed(folder, metrics), dataset)


def _train_and_measure(
    inputs: RunInputs, facts: Mapping[str, Any], chief: bool, progress: Progress
) -> dict[str, Metrics]:
    """Train and measure; the chief writes the results, or how far it came."""
    config = inputs.config
    if chief:
        record_data(inputs.dataset, inputs.folder)
    train = train_student if config.run.restarts == 1 else partial(train_student_from_seeds, train_experiment)
    teach = train_teacher if config.teacher.members == 1 else partial(train_teacher_from_seeds, train_experiment)
    try:
        models, histories = train_teacher_and_student(inputs, teach, train, progress)
        metrics = _measure(config, inputs.dataset, models)
        if chief:
            _finish(inputs.folder, facts, config, models, histories, metrics)
    except (TrainError, KeyboardInterrupt) as error:
        status = "failed" if isinstance(error, TrainError) else "interrupted"
        if chief:
            run.write_manifest(inputs.folder, {**facts, "status": status, "error": str(error)})
        raise
    return metrics


def _measure(config: ExperimentConfig, dataset: Dataset, models: Mapping[str, keras.Model]) -> dict[str, Metrics]:
    """Measure each model and the constant mask on the test part."""
    test, classes = dataset.test, dataset.classes
    metrics = {"constant_mask": constant_mask(dataset.train.masks, test.masks, classes)}
    for role, model in models.items():
        decisions = _decisions(model, test.images, config.student.threshold)
        metrics[role] = segmentation_metrics(test.masks, decisions, classes)
    return metrics


def _decisions(model: keras.Model, images: Pixels, threshold: float) -> Pixels:
    """Decide classes (N, H, W). A teacher of another size answers as its student is told: `teacher_logits`."""
    contract = preprocessing_of(model)
    if images.shape[1:3] == (contract.height_px, contract.width_px):
        return decide(model, images, contract, threshold)
    return keras_predictor(model, contract).decide(squeezed(teacher_logits(model, images)), threshold)


def _held_to_constraints(config: ExperimentConfig, result: TrainResult, dataset: Dataset) -> TrainResult:
    if config.run.constraints is None:
        return result
    checked, int8 = check_run(result["experiment_dir"], config.run.constraints, dataset)
    result["final_metrics"]["int8"] = int8
    if error := violation(checked):
        result["status"], result["error"] = "failed", error
    return result


def _finish(
    folder: Path,
    facts: Mapping[str, Any],
    config: ExperimentConfig,
    models: Mapping[str, keras.Model],
    histories: Mapping[str, History],
    metrics: Mapping[str, Metrics],
) -> None:
    """Write models, metrics and, last, the manifest, which declares the run complete."""
    for role, model in models.items():
        save_model(model, folder / f"{role}.keras")
    rows = [{"model": role, **row} for role, result in histories.items() for row in result.history]
    run.write_csv(folder / "metrics.csv", rows)
    best = {role: result.best_epoch for role, result in histories.items()}
    run.write_json(folder / "metrics.json", {"test": metrics, "best_epoch": best, "history": rows})
    weights = {role: run.weights_sha256(model) for role, model in models.items()}
    run.write_manifest(folder, {**facts, "status": "completed", "weights": weights, "metrics": metrics})
    for role in models:
        ((config.run.checkpoint_path or folder) / f"{role}.npz").unlink(missing_ok=True)


def _completed(folder: Path, metrics: dict[str, Metrics]) -> TrainResult:
    return TrainResult(
        status="completed", model_path=folder / "student.keras", final_metrics=metrics, experiment_dir=folder, error=""
    )


def _silent(message: str, done: float) -> None:
    """Ignore progress."""
