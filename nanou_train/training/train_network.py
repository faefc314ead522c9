"""Train a network from first to last epoch: validate, keep the best weights, resume where interrupted.

The same seed, data, configuration, versions and machine give the same weights (`train_model` also switches
TensorFlow to deterministic operations), whether or not the training was interrupted in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanou_train.data.dataset import Split
from nanou_train.data.images import IGNORE
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.errors import ConfigError
from nanou_train.evaluation.evaluate import evaluate_model
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import class_count, preprocessing_of
from nanou_train.networks.distribution import find_strategy, is_chief, replica_count
from nanou_train.networks.saving import save_model
from nanou_train.runs import run_folder as run
from nanou_train.training.checkpoint import TrainingState, load_state, save_state
from nanou_train.training.inputs import as_split
from nanou_train.training.learning_rate import ValidationCallbacks
from nanou_train.training.loop import TrainingLoop
from nanou_train.training.teacher_views import Views

if TYPE_CHECKING:
    import keras

Progress = Callable[[str, float], None]
Validate = Callable[["keras.Model", int], float | None]
Data = Split | tuple[Any, Any] | Iterable[tuple[Any, Any]]


@dataclass(frozen=True)
class History:
    """History of a training as Keras's, one row an epoch, and the epoch (from 1) whose weights the model now has."""

    history: tuple[dict[str, float], ...]
    best_epoch: int

    @classmethod
    def of_run(cls, folder: Path) -> History:
        """Read the student's history of a completed run. Raises OSError, ValueError or KeyError for another folder."""
        metrics = json.loads((folder / "metrics.json").read_text())
        rows = (dict(row) for row in metrics["history"])
        return cls(tuple(row for row in rows if row.pop("model") == "student"), metrics["best_epoch"]["student"])

    @property
    def kept(self) -> dict[str, float]:
        """The row of the epoch whose weights the model has."""
        return self.history[self.best_epoch - 1]

    @property
    def val_miou(self) -> float:
        """Validation mIoU of the kept epoch. Raises KeyError where nothing was validated."""
        return self.kept["val_miou"]


def train_single_model(
    model: keras.Model,
    config: ExperimentConfig | Mapping[str, Any],
    train_data: Data,
    val_data: Data | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    state_path: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> History:
    """Train on masks alone, in place; the model ends with the weights that `config.student.keep` names.

    `config` is a configuration or a mapping of its keys. Data are a Split, arrays (x, y) or batches of them, as
    `nanou_train.training.inputs.as_split` takes them. `callbacks` are called as `model.fit` would. Best is the highest
    mIoU on `val_data`, or the last epoch without it. `checkpoint` (.keras) is replaced at each better epoch.
    `state_path` (.npz) holds the state after every epoch; where it holds one of this very training, the training goes
    on from there. Raises TrainError where data and model sizes disagree or the loss is not finite, DataError for data
    that are not normalized.
    """
    return train_with_distillation(
        model,
        None,
        config,
        train_data,
        val_data,
        seed=seed,
        checkpoint=checkpoint,
        state_path=state_path,
        callbacks=callbacks,
        progress=progress,
    )


def train_with_distillation(
    student: keras.Model,
    teacher: keras.Model | Views | None,
    config: ExperimentConfig | Mapping[str, Any],
    train_data: Data,
    val_data: Data | None = None,
    *,
    validate: Validate | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    state_path: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> History:
    """Train the student on masks and the teacher's logits, in place; else as `train_single_model`.

    With `teacher_cache` the teacher may have another size, or be its answers to views of `train_data`.
    `validate(student, epoch)`, in place of `val_data`, is called with the weights that would be kept and gives the
    mIoU, or None for an epoch in which it measures none. Where it sets `student.stop_training`, that epoch is the last.
    """
    config = as_config(config)
    recipe = config.student
    train_data = as_split(train_data, student, "training")
    val_data = None if val_data is None else as_split(val_data, student, "validation")
    _check_sizes(student, teacher, train_data, val_data, config)
    if val_data is not None:
        validate = _validate_on(val_data, config)
    identity = _identity(student, teacher, config, train_data, val_data, seed)
    state = load_state(state_path, identity) if state_path is not None else None
    loop = TrainingLoop(student, teacher, config, train_data, seed, state, _reporter(progress))
    if not is_chief(loop.strategy):
        checkpoint = state_path = None
    history = list(state.history) if state else []
    best = _Best(0, -1.0, student.get_weights())
    if state is not None:
        best = _Best(state.best_epoch, state.best_score, state.arrays["best"])
    first = len(history)
    validated = ValidationCallbacks(recipe, loop.optimizer.inner, history, validated=val_data is not None)
    watchers = _watchers(callbacks, loop.student, epochs=recipe.epochs, steps=loop.steps, initial_epoch=first)
    by_batch = any(map(_sees_batches, callbacks))
    for epoch in range(first + 1, recipe.epochs + 1):
        if validated.stop or loop.student.stop_training:
            break
        began = time.monotonic()
        watchers.on_epoch_begin(epoch - 1)
        rate = float(np.asarray(loop.optimizer.inner.learning_rate))
        row = {"epoch": float(epoch), **loop.run_epoch(epoch, watchers if by_batch else None), "learning_rate": rate}
        weights = loop.kept_weights()
        if validate is not None:
            with _holding(student, weights) as kept:
                miou = validate(kept, epoch)
            row |= {} if miou is None else {"val_miou": miou}
        row["seconds"] = round(time.monotonic() - began, 2)
        history.append(row)
        watchers.on_epoch_end(epoch - 1, row)  # before the state: what a resumed run has not done, it logs again
        validated.end_epoch(row)
        if best.offer(epoch, row.get("val_miou", epoch) if recipe.keep == "best" else epoch, weights) and checkpoint:
            with _holding(student, weights) as kept:
                save_model(kept, checkpoint)
        if state_path is not None:
            arrays = {"best": best.weights, **loop.state_arrays()}
            save_state(TrainingState(epoch, best.epoch, best.score, tuple(history), arrays), state_path, identity)
        if progress is not None:
            progress(_progress_line(student.name, row, recipe.epochs), epoch / recipe.epochs)
    watchers.on_train_end()
    student.set_weights(best.weights)
    return History(tuple(history), best.epoch)


@dataclass
class _Best:
    """Best epoch so far (0: none), its score, and the weights that a training would end with."""

    epoch: int
    score: float
    weights: Sequence[Any]

    def offer(self, epoch: int, score: float, weights: list[Any]) -> bool:
        """Take an epoch that is better; returns whether it is."""
        if score > self.score:
            self.epoch, self.score, self.weights = epoch, score, weights
            return True
        return False


def _watchers(
    callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, **params: int
) -> keras.callbacks.CallbackList:
    """Start Keras callbacks as `model.fit` does; epochs and batches count from 0 there, from 1 here."""
    import keras

    model.stop_training = False
    watchers = keras.callbacks.CallbackList(list(callbacks), model=model, **params)
    watchers.on_train_begin()
    return watchers


def _sees_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback does anything for a batch: each call waits for the step's results."""
    import keras

    names = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
    return any(getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name) for name in names)


@contextmanager
def _holding(model: keras.Model, weights: list[Any]) -> Iterator[keras.Model]:
    """Give a model other weights for a while, and its own back."""
    own = model.get_weights()
    model.set_weights(weights)
    try:
        yield model
    finally:
        model.set_weights(own)


def _validate_on(data: Split, config: ExperimentConfig) -> Validate:
    def validate(model: keras.Model, _epoch: int) -> float:
        names = BINARY_CLASSES if class_count(model) == 2 else tuple(map(str, range(class_count(model))))
        metrics = evaluate_model(
            model, data.images, data.masks, preprocessing_of(model), threshold=config.student.threshold, classes=names
        )
        return float(metrics["miou"])

    return validate


def _identity(
    student: keras.Model,
    teacher: keras.Model | Views | None,
    config: ExperimentConfig,
    train: Split,
    val: Split | None,
    seed: int,
) -> str:
    """Hash everything that decides a training's outcome on one machine.

    The threads of one operation are among it: they decide in which order it adds.
    """
    facts = {
        "student": run.weights_sha256(student),
        "operations": [type(operation).__name__ for operation in student.operations],
        "teacher": _teacher_sha256(teacher),
        "configuration": config.deciding(),
        "data": [train.sha256, None if val is None else val.sha256],
        "seed": seed,
        "versions": run.versions(),
        "replicas": replica_count(find_strategy(config.run.strategy)),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", ""),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _reporter(progress: Progress | None) -> Callable[[str], None]:
    """Report what comes before the first epoch, at progress 0."""
    return (lambda message: progress(message, 0.0)) if progress else (lambda _message: None)


def _teacher_sha256(teacher: keras.Model | Views | None) -> str | None:
    if isinstance(teacher, Views):
        return teacher.identity
    return None if teacher is None else run.weights_sha256(teacher)


def _progress_line(name: str, row: dict[str, float], epochs: int) -> str:
    shown = f", validation mIoU {row['val_miou']:.3f}" if "val_miou" in row else ""
    return f"{name} epoch {row['epoch']:.0f}/{epochs}: loss {row['loss']:.3f}{shown}"


def _check_sizes(
    student: keras.Model,
    teacher: keras.Model | Views | None,
    train: Split,
    val: Split | None,
    config: ExperimentConfig,
) -> None:
    wanted, count = tuple(student.inputs[0].shape[1:]), class_count(student)
    told, size = count, wanted
    if isinstance(teacher, Views):
        logits = teacher.logits.shape
        told, size = (2 if logits[4] == 1 else logits[4]), logits[2:4]
        if logits[1] != len(train):
            raise ConfigError(
                f"there are views of {logits[1]} images, and {len(train)} to train on", hint="make them of these images"
            )
    elif teacher is not None:
        told, size = class_count(teacher), tuple(teacher.inputs[0].shape[1:])
        if config.distillation.cache and size[2:] == wanted[2:]:
            size = wanted  # it sees them resized
    for what, found in (
        ("the training images are", train.images.shape[1:]),
        ("the validation images are", val.images.shape[1:] if val is not None else wanted),
        ("the teacher's size is", size),
    ):
        if tuple(found) != wanted[: len(found)]:
            raise ConfigError(
                f"{what} {tuple(found)}, {student.name} needs {wanted}",
                hint="use one size for all; with teacher_cache, the teacher may have another",
            )
    top = int(train.masks[train.masks != IGNORE].max(initial=0))
    if top >= count or told != count:
        other = f"masks have class {top}" if top >= count else f"the teacher has {told}"
        raise ConfigError(f"{student.name} tells {count} classes apart, {other}", hint="use one set of classes for all")
