"""The training loop: NumPy arrays in memory, seeded augmentation, one graph-compiled `train_step`.

The same seed, data, configuration, versions and machine give the same weights (`train_model` also switches
TensorFlow to deterministic operations).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.model import Preprocessing
from nanou_train import run
from nanou_train.augment import augment
from nanou_train.config import ExperimentConfig
from nanou_train.data import Split
from nanou_train.distill import train_step
from nanou_train.errors import ConfigError, TrainError
from nanou_train.evaluate import evaluate_model

if TYPE_CHECKING:
    import keras

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class FitResult:
    """One row per epoch, and the epoch (from 1) whose weights the model now has."""

    history: tuple[dict[str, float], ...]
    best_epoch: int


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
    _check_sizes(student, teacher, train_data, val_data)
    batch_size = min(config.batch_size, len(train_data))
    step = _compiled_step(student, teacher, config, len(train_data) // batch_size)
    history: list[dict[str, float]] = []
    best_epoch, best_score, best_weights = 0, -1.0, student.get_weights()
    for epoch in range(1, config.epochs + 1):
        row = {"epoch": float(epoch)} | _run_epoch(step, student, config, batch_size, train_data, val_data, seed, epoch)
        history.append(row)
        score = row.get("val_miou", float(epoch))
        if score > best_score:
            best_epoch, best_score, best_weights = epoch, score, student.get_weights()
            if checkpoint is not None:
                run.save_model_file(student, checkpoint)
        if progress is not None:
            shown = f", validation mIoU {row['val_miou']:.3f}" if val_data is not None else ""
            title = f"{student.name} epoch {epoch}/{config.epochs}"
            progress(f"{title}: loss {row['loss']:.3f}{shown}", epoch / config.epochs)
        if config.early_stopping and epoch - best_epoch >= config.patience:
            break
    student.set_weights(best_weights)
    return FitResult(tuple(history), best_epoch)


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The contract that training, calibration and firmware share, for a model's input size."""
    height, width, channels = model.inputs[0].shape[1:]
    return Preprocessing(height_px=height, width_px=width, channels=channels)


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
    student: keras.Model, teacher: keras.Model | None, config: ExperimentConfig, steps: int
) -> Callable[[Any, Any], dict[str, Any]]:
    import tensorflow as tf

    optimizer = _optimizer(config, steps, student)
    compiled: Callable[[Any, Any], dict[str, Any]] = tf.function(
        lambda x, y: train_step(student, teacher, x, y, optimizer, config.alpha, config.temperature), autograph=False
    )
    return compiled


def _run_epoch(
    step: Callable[[Any, Any], dict[str, Any]],
    student: keras.Model,
    config: ExperimentConfig,
    batch_size: int,
    data: Split,
    val_data: Split | None,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """One pass in random order, whole batches only (one shape, one graph): mean losses, validation mIoU, seconds."""
    import tensorflow as tf

    started = time.monotonic()
    contract, rng = preprocessing_of(student), np.random.default_rng([seed, epoch])
    order = rng.permutation(len(data))
    results = []
    for start in range(0, len(data) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        images, masks = data.images[chosen], data.masks[chosen]
        if config.augment:
            images, masks = augment(images, masks, rng)
        results.append(step(tf.constant(contract.normalize(images)), tf.constant(masks.astype(np.float32))))
    row = {key: float(np.mean([float(result[key]) for result in results])) for key in results[0]}
    if not all(math.isfinite(value) for value in row.values()):
        raise TrainError(f"the loss of {student.name} is not finite in epoch {epoch}", hint="lower learning_rate")
    if val_data is not None:
        metrics = evaluate_model(student, val_data.images, val_data.masks, contract, threshold=config.threshold)
        row["val_miou"] = metrics["miou"]
    return row | {"seconds": round(time.monotonic() - started, 2)}


def _check_sizes(student: keras.Model, teacher: keras.Model | None, train: Split, val: Split | None) -> None:
    wanted = tuple(student.inputs[0].shape[1:])
    for what, found in (
        ("the training images are", train.images.shape[1:]),
        ("the validation images are", val.images.shape[1:] if val is not None else wanted),
        ("the teacher's input is", tuple(teacher.inputs[0].shape[1:]) if teacher is not None else wanted),
    ):
        if tuple(found) != wanted:
            raise ConfigError(f"{what} {tuple(found)}, {student.name} needs {wanted}", hint="use one size for all")
