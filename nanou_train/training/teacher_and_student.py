"""Train the teacher of a run, then its student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanou_train.data.dataset import Dataset, Split
from nanou_train.experiments.config import ExperimentConfig, Role
from nanou_train.experiments.derived import derived
from nanou_train.networks.architectures import create_model_from_config, preprocessing_of
from nanou_train.networks.distribution import find_strategy, is_chief
from nanou_train.runs.constraints import check_before
from nanou_train.training.given_teacher import open_teacher
from nanou_train.training.start import initial_student
from nanou_train.training.teacher_views import Views
from nanou_train.training.train_network import History, Progress, train_single_model, train_with_distillation
from nanou_train.training.unlabelled import with_answers

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class RunInputs:
    """Configuration, data, seed and folder of a run; `name` is the experiment's.

    `answers` are what soft masks say of the training pictures, in place of a teacher, which is to label the
    `unlabelled` ones.
    """

    config: ExperimentConfig
    dataset: Dataset
    folder: Path
    seed: int
    name: str
    answers: Views | None = None
    unlabelled: Split | None = None

    @property
    def place(self) -> Path:
        """Where checkpoints are."""
        return self.config.run.checkpoint_path or self.folder


TEACHER_SEED = 1  # beside the student's, so that they begin with other weights
TrainStudent = Callable[[RunInputs, "keras.Model", "keras.Model | Views | None", Progress], History]
TrainTeacher = Callable[[RunInputs, Progress], "tuple[keras.Model, History]"]


def train_teacher_and_student(
    inputs: RunInputs, teach: TrainTeacher, train: TrainStudent, progress: Progress
) -> tuple[dict[str, keras.Model], dict[str, History]]:
    """Train both; returns models and their histories by role. Progress runs from 0 to 1 over both.

    `teach` trains a teacher (`train_teacher`), `train` the student in place (`train_student`). Raises TrainError.
    """
    from nanou_train.training.nas import layers_to_watch

    config, classes = inputs.config, len(inputs.dataset.classes)
    models: dict[str, keras.Model] = {}
    histories: dict[str, History] = {}
    student = initial_student(config, classes)
    if config.run.constraints is not None:
        check_before(config.run.constraints, student)
    if config.run.nas.enabled:
        layers_to_watch(student, config.run.nas.layers)  # a wrong name is found before the teacher has trained
    if is_chief(find_strategy(config.run.strategy)):
        inputs.place.mkdir(parents=True, exist_ok=True)
    share = 0.0
    teacher: keras.Model | Views | None = inputs.answers
    if config.distillation.enabled and config.teacher.weights is not None:
        models["teacher"] = open_teacher(config, config.teacher.weights, inputs.dataset)
    elif config.trains_teacher:
        epochs = config.teacher.epochs * config.teacher.members
        share = epochs / (epochs + config.student.epochs)
        models["teacher"], histories["teacher"] = teach(inputs, lambda message, done: progress(message, share * done))
    teacher = models.get("teacher", teacher)
    if inputs.unlabelled is not None:
        more = with_answers(inputs.dataset.train, inputs.unlabelled, models["teacher"])
        inputs = replace(inputs, dataset=replace(inputs.dataset, train=more))
    histories["student"] = train(
        inputs, student, teacher, lambda message, done: progress(message, share + (1 - share) * done)
    )
    models["student"] = student
    return models, histories


def train_teacher(inputs: RunInputs, progress: Progress) -> tuple[keras.Model, History]:
    """Train one network as the teacher, on masks alone."""
    config, data = inputs.config, inputs.dataset
    teacher = create_model_from_config(config.network("teacher", len(data.classes)), name=config.teacher.preset)
    return teacher, train_single_model(
        teacher,
        derived(config, "teacher"),
        data.train,
        data.validation,
        seed=inputs.seed + TEACHER_SEED,
        checkpoint=inputs.place / "teacher.keras",
        state_path=inputs.place / "teacher.npz",
        callbacks=_callbacks(inputs, "teacher", teacher),
        progress=progress,
    )


def train_student(
    inputs: RunInputs, student: keras.Model, teacher: keras.Model | Views | None, progress: Progress
) -> History:
    """Train the student in place, on the teacher's answers if there is one."""
    return train_with_distillation(
        student,
        teacher,
        inputs.config,
        inputs.dataset.train,
        inputs.dataset.validation,
        seed=inputs.seed,
        checkpoint=inputs.place / "student.keras",
        state_path=inputs.place / "student.npz",
        callbacks=_callbacks(inputs, "student", student),
        progress=progress,
    )


def _callbacks(inputs: RunInputs, role: Role, model: keras.Model) -> list[keras.callbacks.Callback]:
    """Create the records of epochs and the logs that are asked for; for the student also its redundancy on validation
    images. One host writes."""
    from nanou_train.training.logs import logs_of, records_of
    from nanou_train.training.nas import PROBE_IMAGES, NASCallback

    config = inputs.config
    if not is_chief(find_strategy(config.run.strategy)):
        return []
    shown = inputs.dataset.validation or inputs.dataset.train
    found = [*records_of(model, config, shown, inputs.folder, role), *logs_of(config, inputs.folder, role)]
    if config.run.nas.enabled and role == "student":
        x = preprocessing_of(model).normalize(shown.images[:PROBE_IMAGES])
        found.append(NASCallback(config.run.nas.layers, config.run.nas.frequency, inputs.folder / "nas_logs", x=x))
    return found
