"""Training: from a data set and an experiment to the best student, with or without a teacher.

The loops are plain: NumPy arrays in memory, seeded augmentation, one graph-compiled `train_step`. The same seed,
data, configuration, versions and machine give the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from codegen.model import Preprocessing
from codegen.quantize import import_tensorflow
from nanou_train import run
from nanou_train.augment import augment
from nanou_train.config import DEFAULT_CONFIG, ExperimentConfig, load_experiment
from nanou_train.data import Dataset, DatasetSpec, Split, load_dataset, terrain_dataset
from nanou_train.distill import train_step
from nanou_train.errors import ConfigError, TrainError
from nanou_train.evaluate import Metrics, constant_mask, evaluate_model
from nanou_train.models import PRESETS, create_model_from_config

if TYPE_CHECKING:
    import keras

__all__ = ["TrainResult", "train_model", "train_single_model", "train_step", "train_with_distillation"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class FitResult:
    """One row per epoch, and the epoch (from 1) whose weights the model now has."""

    history: tuple[dict[str, float], ...]
    best_epoch: int


class TrainResult(TypedDict):
    """What `train_model` returns. `status` is "completed" or "failed"; `error` is empty unless it failed.

    `final_metrics` are test metrics of `student`, `teacher` (with distillation) and `constant_mask`.
    """

    status: str
    model_path: Path | None
    final_metrics: dict[str, Metrics]
    experiment_dir: Path
    error: str


def train_single_model(
    model: keras.Model,
    config: ExperimentConfig,
    train_data: Split,
    val_data: Split | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train on masks alone, in place; the model ends with the weights of its best epoch.

    Best is the highest mIoU on `val_data`, or the last epoch without it. `checkpoint` (.keras) is replaced at each
    better epoch. Raises TrainError where data and model sizes disagree or the loss is not finite.
    """
    return train_with_distillation(
        model, None, config, train_data, val_data, seed=seed, checkpoint=checkpoint, progress=progress
    )


def train_with_distillation(
    student: keras.Model,
    teacher: keras.Model | None,
    config: ExperimentConfig,
    train_data: Split,
    val_data: Split | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train the student on masks and the teacher's logits, in place; else as `train_single_model`."""
    contract = preprocessing_of(student)
    _check_sizes(student, teacher, train_data, val_data)
    batch_size = min(config.batch_size, len(train_data))
    steps = len(train_data) // batch_size
    optimizer = _optimizer(config, steps, student)
    step = _compiled_step(student, teacher, optimizer, config)
    history: list[dict[str, float]] = []
    best_epoch, best_score, best_weights = 0, -1.0, student.get_weights()
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        losses = _run_epoch(
            step, train_data, contract, config.augment, batch_size, np.random.default_rng([seed, epoch])
        )
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainError(f"the loss of {student.name} is not finite in epoch {epoch}", hint="lower learning_rate")
        row = {"epoch": float(epoch), **losses}
        if val_data is not None:
            row["val_miou"] = evaluate_model(
                student, val_data.images, val_data.masks, contract, threshold=config.threshold
            )["miou"]
        row["seconds"] = round(time.monotonic() - started, 2)
        history.append(row)
        score = row.get("val_miou", float(epoch))
        if score > best_score:
            best_epoch, best_score, best_weights = epoch, score, student.get_weights()
            if checkpoint is not None:
                run.save_model_file(student, checkpoint)
        if progress is not None:
            shown = f", validation mIoU {row['val_miou']:.3f}" if val_data is not None else ""
            progress(
                f"{student.name} epoch {epoch}/{config.epochs}: loss {row['loss']:.3f}{shown}", epoch / config.epochs
            )
        if config.early_stopping and epoch - best_epoch >= config.patience:
            break
    student.set_weights(best_weights)
    return FitResult(tuple(history), best_epoch)


def train_model(
    config_path: str | Path = DEFAULT_CONFIG,
    experiment_name: str = "default",
    *,
    data_root: str | Path | None = None,
    dataset: Dataset | None = None,
    output_dir: str | Path = "runs",
    run_name: str = "",
    seed: int = 0,
    progress: Progress | None = None,
    **overrides: Any,
) -> TrainResult:
    """Run one experiment into OUTPUT_DIR/RUN_NAME (default: the experiment's name); see nanou_train.run for the files.

    Data are the folder `data_root`, or else the embedded terrain; `dataset` gives them already loaded.
    `overrides` replace keys of the experiment. An intended error (configuration, data, folder) does not raise: it
    comes back as status "failed" with `error`, and in the manifest if the run had begun. Anything else is a bug and
    propagates.
    """
    folder = Path(output_dir) / (run_name or experiment_name)
    try:
        config = load_experiment(Path(config_path), experiment_name, overrides)
        return _train_experiment(
            config, experiment_name, Path(data_root) if data_root else None, dataset, folder, seed, progress or _silent
        )
    except TrainError as error:
        message = f"{error}; {error.hint}" if error.hint else str(error)
        return TrainResult(status="failed", model_path=None, final_metrics={}, experiment_dir=folder, error=message)


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The contract that training, calibration and firmware share, for a model's input size."""
    height, width, channels = model.inputs[0].shape[1:]
    return Preprocessing(height_px=height, width_px=width, channels=channels)


def _train_experiment(
    config: ExperimentConfig,
    name: str,
    data_root: Path | None,
    dataset: Dataset | None,
    folder: Path,
    seed: int,
    progress: Progress,
) -> TrainResult:
    import_tensorflow()
    import keras
    import tensorflow as tf

    height, width, _ = PRESETS[config.model_name].input_shape
    source: dict[str, Any] = {"kind": "folder", "root": str(data_root)}
    if data_root is None:
        source = {"kind": "terrain", "counts": config.terrain.model_dump(), "seed": seed}
    if dataset is None:
        progress("loading the data set" if data_root else "rendering terrain", 0.0)
        dataset = (
            load_dataset(DatasetSpec(data_root, height, width))
            if data_root
            else terrain_dataset(config.terrain.model_dump(), seed=seed, height_px=height, width_px=width)
        )
    facts = run.describe_run(config, dataset, source, Preprocessing(height, width), seed) | {"experiment": name}
    run.start_run(folder, facts)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        models, histories = _train_models(config, dataset, folder, seed, progress)
    except (TrainError, KeyboardInterrupt) as error:
        status = "failed" if isinstance(error, TrainError) else "interrupted"
        run.write_manifest(folder, {**facts, "status": status, "error": str(error)})
        raise
    metrics = {"constant_mask": constant_mask(dataset.train.masks, dataset.test.masks)}
    for role, model in models.items():
        metrics[role] = evaluate_model(
            model, dataset.test.images, dataset.test.masks, preprocessing_of(model), threshold=config.threshold
        )
        run.save_model_file(model, folder / f"{role}.keras")
    rows = [{"model": role, **row} for role, result in histories.items() for row in result.history]
    run.write_csv(folder / "metrics.csv", rows)
    best = {role: result.best_epoch for role, result in histories.items()}
    run.write_json(folder / "metrics.json", {"test": metrics, "best_epoch": best, "history": rows})
    weights = {role: run.weights_sha256(model) for role, model in models.items()}
    run.write_manifest(folder, {**facts, "status": "completed", "weights": weights, "metrics": metrics})
    return TrainResult(
        status="completed",
        model_path=folder / "student.keras",
        final_metrics=metrics,
        experiment_dir=folder,
        error="",
    )


def _train_models(
    config: ExperimentConfig, dataset: Dataset, folder: Path, seed: int, progress: Progress
) -> tuple[dict[str, keras.Model], dict[str, FitResult]]:
    """Teacher (if any) and student, trained; progress runs from 0 to 1 over both."""
    models: dict[str, keras.Model] = {}
    histories: dict[str, FitResult] = {}
    student = create_model_from_config(config.model_name)
    teacher, share = None, 0.0
    if config.use_distillation and config.teacher_weights is not None:
        teacher = models["teacher"] = run.load_model_file(config.teacher_weights)
    elif config.use_distillation:
        share = config.teacher_epochs / (config.teacher_epochs + config.epochs)
        teacher = models["teacher"] = create_model_from_config(config.teacher_name)
        teacher_config = config.model_copy(
            update={"epochs": config.teacher_epochs, "learning_rate": config.teacher_learning_rate}
        )
        histories["teacher"] = train_single_model(
            teacher,
            teacher_config,
            dataset.train,
            dataset.val,
            seed=seed + 1,
            checkpoint=folder / "teacher.keras",
            progress=lambda message, done: progress(message, share * done),
        )
    histories["student"] = train_with_distillation(
        student,
        teacher,
        config,
        dataset.train,
        dataset.val,
        seed=seed,
        checkpoint=folder / "student.keras",
        progress=lambda message, done: progress(message, share + (1 - share) * done),
    )
    models["student"] = student
    return models, histories


def _optimizer(config: ExperimentConfig, steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    import keras

    total = steps * config.epochs
    warmup = min(steps, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * 0.1 if warmup else config.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.build(model.trainable_variables)
    return optimizer


def _compiled_step(
    student: keras.Model, teacher: keras.Model | None, optimizer: keras.optimizers.Optimizer, config: ExperimentConfig
) -> Callable[[Any, Any], dict[str, Any]]:
    import tensorflow as tf

    compiled: Callable[[Any, Any], dict[str, Any]] = tf.function(
        lambda x, y: train_step(student, teacher, x, y, optimizer, config.alpha, config.temperature)
    )
    return compiled


def _run_epoch(
    step: Callable[[Any, Any], dict[str, Any]],
    data: Split,
    contract: Preprocessing,
    augmented: bool,
    batch_size: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One pass in random order, whole batches only (one shape, one graph). Returns mean losses."""
    import tensorflow as tf

    order = rng.permutation(len(data))
    results = []
    for start in range(0, len(data) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        images, masks = data.images[chosen], data.masks[chosen]
        if augmented:
            images, masks = augment(images, masks, rng)
        results.append(step(tf.constant(contract.normalize(images)), tf.constant(masks.astype(np.float32))))
    return {key: float(np.mean([float(result[key]) for result in results])) for key in results[0]}


def _check_sizes(student: keras.Model, teacher: keras.Model | None, train: Split, val: Split | None) -> None:
    wanted = tuple(student.inputs[0].shape[1:])
    for what, found in (
        ("the training images are", train.images.shape[1:]),
        ("the validation images are", val.images.shape[1:] if val is not None else wanted),
        ("the teacher's input is", tuple(teacher.inputs[0].shape[1:]) if teacher is not None else wanted),
    ):
        if tuple(found) != wanted:
            raise ConfigError(f"{what} {tuple(found)}, {student.name} needs {wanted}", hint="use one size for all")


def _silent(message: str, done: float) -> None:
    """Progress that nobody asked for."""
