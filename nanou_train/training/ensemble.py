"""Trains a teacher as an ensemble: several networks from several seeds, side by side, whose logits are averaged.

Networks that differ in nothing but their seed err in different places, so their average errs less than any one (Hansen
and Salamon 1990, Neural Network Ensembles), and a student learns it from one teacher (Hinton et al. 2015, arXiv
1503.02531). Each is a run of its own, RUN/teachers/NN, which an interruption does not lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nanou_train.errors import ConfigError
from nanou_train.experiments.derived import derived
from nanou_train.runs import run_folder as run
from nanou_train.training.restarts import SEED_STEP, Restart, TrainRun, train_restarts
from nanou_train.training.teacher_and_student import TEACHER_SEED, RunInputs
from nanou_train.training.train_network import History, Progress

if TYPE_CHECKING:
    import keras

FOLDER = "teachers"


def train_teacher_from_seeds(train: TrainRun, inputs: RunInputs, progress: Progress) -> tuple[keras.Model, History]:
    """Train `config.teacher.members` networks, each by `train`: their average, and the history of the best.

    Raises TrainError where one fails.
    """
    members = members_of(inputs)
    best, *_ = train_restarts(train, members, progress, called="teacher")
    return averaged([run.load_student(one.folder) for one in members], inputs.config.teacher.preset), best.history


def members_of(inputs: RunInputs) -> tuple[Restart, ...]:
    """Describe the runs of an ensemble, one a seed. Raises ConfigError for a run on several devices or hosts."""
    config = inputs.config
    if config.run.strategy != "none":
        raise ConfigError(
            f"teacher.members = {config.teacher.members}: with strategy {config.run.strategy}",
            hint="they are processes of one computer; leave one of the two out",
        )

    def one(number: int) -> Restart:
        label = f"{number + 1:02d}"
        logs = config.run.logs.folder / f"teacher{label}" if config.run.logs.folder else None
        seed = (inputs.seed + TEACHER_SEED + SEED_STEP * number) % 2**32
        own = derived(config, "teacher", log_dir=logs)
        return Restart(number, inputs.name, own, inputs.dataset, seed, inputs.folder / FOLDER / label)

    return tuple(one(number) for number in range(config.teacher.members))


def averaged(members: Sequence[keras.Model], name: str) -> keras.Model:
    """Build a model whose logits (N, H, W, K) are the mean of its members', which have one input size."""
    import keras

    inputs = keras.Input(members[0].inputs[0].shape[1:], name="image")
    for number, member in enumerate(members, start=1):
        member.name = f"member{number:02d}"  # a graph tells its parts apart by name
    logits = keras.layers.Average(name="logits")([member(inputs) for member in members])
    return keras.Model(inputs, logits, name=name)
