"""Teacher and student of one run, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanou_train.data.dataset import Dataset
from nanou_train.experiments.config import ExperimentConfig, Role
from nanou_train.networks.architectures import create_model_from_config, preprocessing_of
from nanou_train.networks.distribution import find_strategy, is_chief
from nanou_train.networks.saving import save_model
from nanou_train.runs import run_folder as run
from nanou_train.runs.constraints import check_before
from nanou_train.training.fit import FitResult, Progress, train_single_model, train_with_distillation
from nanou_train.training.restarts import restarts_of, summary, train_restarts
from nanou_train.training.start import given_teacher, initial_student
from nanou_train.training.teacher_views import CACHE, make_views

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Pair:
    """What the two are trained from, and RUN's folder; `name` is the experiment's."""

    config: ExperimentConfig
    dataset: Dataset
    folder: Path
    seed: int
    name: str

    @property
    def place(self) -> Path:
        """Where checkpoints are."""
        return self.config.checkpoint_path or self.folder


def train_pair(pair: Pair, progress: Progress) -> tuple[dict[str, keras.Model], dict[str, FitResult]]:
    """Models by role, and what their trainings were like; progress runs from 0 to 1 over both. Raises TrainError."""
    from nanou_train.training.nas import layers_to_watch

    config, classes = pair.config, len(pair.dataset.classes)
    models: dict[str, keras.Model] = {}
    histories: dict[str, FitResult] = {}
    student = initial_student(config, classes)
    if config.constraints is not None:
        check_before(config.constraints, student)
    if config.use_nas:
        layers_to_watch(student, config.layers_to_monitor)  # a wrong name is found before the teacher has trained
    if is_chief(find_strategy(config.strategy)):
        pair.place.mkdir(parents=True, exist_ok=True)
    share = 0.0
    if config.use_distillation and config.teacher_weights is not None:
        models["teacher"] = given_teacher(config, config.teacher_weights, classes)
    elif config.use_distillation:
        share = config.teacher_epochs / (config.teacher_epochs + config.epochs)
        models["teacher"], histories["teacher"] = _train_teacher(
            pair, lambda message, done: progress(message, share * done)
        )
    train = _train_student if config.restarts == 1 else _train_restarts
    histories["student"] = train(
        pair, student, models.get("teacher"), lambda message, done: progress(message, share + (1 - share) * done)
    )
    models["student"] = student
    return models, histories


def _train_teacher(pair: Pair, progress: Progress) -> tuple[keras.Model, FitResult]:
    config, data = pair.config, pair.dataset
    teacher = create_model_from_config(config.network("teacher", len(data.classes)), name=config.teacher_name)
    own = {
        "epochs": config.teacher_epochs,
        "learning_rate": config.teacher_learning_rate,
        "augment": config.teacher_augment or config.augment,
        "quantization_start": 0,
        "freeze_epochs": 0,
    }
    return teacher, train_single_model(
        teacher,
        config.model_copy(update=own),
        data.train,
        data.val,
        seed=pair.seed + 1,
        checkpoint=pair.place / "teacher.keras",
        state_path=pair.place / "teacher.npz",
        callbacks=_callbacks(pair, "teacher", teacher),
        progress=progress,
    )


def _train_student(pair: Pair, student: keras.Model, teacher: keras.Model | None, progress: Progress) -> FitResult:
    return train_with_distillation(
        student,
        teacher,
        pair.config,
        pair.dataset.train,
        pair.dataset.val,
        seed=pair.seed,
        checkpoint=pair.place / "student.keras",
        state_path=pair.place / "student.npz",
        callbacks=_callbacks(pair, "student", student),
        progress=progress,
    )


def _train_restarts(pair: Pair, student: keras.Model, teacher: keras.Model | None, progress: Progress) -> FitResult:
    """As `_train_student`, from several seeds; what the teacher answers is computed once for all."""
    config, weights = pair.config, pair.config.teacher_weights
    if teacher is not None and weights is None:
        weights = pair.folder / "teacher.keras"
        save_model(teacher, weights)
    if teacher is not None and config.teacher_cache and config.teacher_views > 1:
        cache = config.output_dir / CACHE
        make_views(teacher, pair.dataset.train, config, lambda message: progress(message, 0.0), cache=cache)
    restarts = restarts_of(config, pair.dataset, pair.folder, pair.seed, pair.name, weights)
    # 100 % is for which one is kept: those who show progress in steps show no second one.
    best, *others = train_restarts(restarts, lambda message, done: progress(message, 0.99 * done))
    student.set_weights(run.load_student(best.folder).get_weights())
    progress(summary(best, others), 1.0)
    return best.fit


def _callbacks(pair: Pair, role: Role, model: keras.Model) -> list[keras.callbacks.Callback]:
    """The logs that are asked for; for the student also its redundancy, seen on validation images. One host writes."""
    from nanou_train.training.logs import logs_of
    from nanou_train.training.nas import PROBE_IMAGES, NASCallback

    config = pair.config
    if not is_chief(find_strategy(config.strategy)):
        return []
    found = logs_of(config, pair.folder, role)
    if config.use_nas and role == "student":
        x = preprocessing_of(model).normalize(pair.dataset.val.images[:PROBE_IMAGES])
        found.append(NASCallback(config.layers_to_monitor, config.nas_frequency, pair.folder / "nas_logs", x=x))
    return found
