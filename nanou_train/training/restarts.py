"""Trains the student from several seeds, side by side, and keeps the best on the validation part.

Two trainings of a network of a few thousand weights differ by more than most settings of a recipe, and such a network
keeps one core busy rather than two: a second one costs memory. Each is a run of its own, RUN/restarts/NN.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, NamedTuple

from nanou_train.data.dataset import Dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import derived
from nanou_train.networks.saving import save_model
from nanou_train.runs import run_folder as run
from nanou_train.runs.interrupts import children_ended_on_error, end_with_parent
from nanou_train.training.benchmark import available_cores
from nanou_train.training.teacher_and_student import RunInputs
from nanou_train.training.teacher_views import CACHE, Views, make_views
from nanou_train.training.train_network import History, Progress

if TYPE_CHECKING:
    import keras

Told = tuple[int, str, float]  # number, message, progress
TrainRun = Callable[..., object]  # nanou_train.training.train.train_experiment
FOLDER = "restarts"
SEED_STEP = 1000  # so that neighbouring seeds share no restart
LOOK_S = 0.2


@dataclass(frozen=True)
class Restart:
    """One training: its number from 0, configuration, data, seed and folder. Picklable."""

    number: int
    name: str
    config: ExperimentConfig
    dataset: Dataset
    seed: int
    folder: Path


class Ended(NamedTuple):
    """A completed restart."""

    folder: Path
    history: History


def train_student_from_seeds(
    train: TrainRun, inputs: RunInputs, student: keras.Model, teacher: keras.Model | Views | None, progress: Progress
) -> History:
    """Train the student from `config.run.restarts` seeds, each by `train`, and give it the weights of the best.

    What the teacher answers is computed once for all.
    """
    config, weights = inputs.config, inputs.config.teacher.weights
    if isinstance(teacher, Views):
        teacher = None  # each restart reads the soft masks
    if teacher is not None and weights is None:
        weights = inputs.folder / "teacher.keras"
        save_model(teacher, weights)
    if teacher is not None and config.distillation.cache and config.distillation.views > 1:
        cache = config.run.output_dir / CACHE
        make_views(teacher, inputs.dataset.train, config, lambda message: progress(message, 0.0), cache=cache)
    # 100 % is for which one is kept: those who show progress in steps show no second one.
    best, *others = train_restarts(
        train, restarts_of(inputs, weights), lambda message, done: progress(message, 0.99 * done)
    )
    student.set_weights(run.load_student(best.folder).get_weights())
    progress(_summary(best, others), 1.0)
    return best.history


def restarts_of(inputs: RunInputs, teacher: Path | None) -> tuple[Restart, ...]:
    """`config.run.restarts` trainings below the run's folder; the first is what the run would be without restarts."""
    config = inputs.config

    def one(number: int) -> Restart:
        label = f"{number + 1:02d}"
        logs = config.run.logs.folder / label if config.run.logs.folder else None
        own = derived(config, "restart", teacher_weights=teacher, log_dir=logs)
        place, seed = inputs.folder / FOLDER / label, (inputs.seed + SEED_STEP * number) % 2**32
        return Restart(number, inputs.name, own, inputs.dataset, seed, place)

    return tuple(one(number) for number in range(config.run.restarts))


def train_restarts(
    train: TrainRun, restarts: Sequence[Restart], progress: Progress, *, called: str = "restart"
) -> tuple[Ended, ...]:
    """Train all, as many at once as there are cores; best first, where anything validates.

    Completed ones are taken as they are. Raises TrainError where one fails. Without this process, the
    others end at once.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    told: Queue[Told] = context.Queue()
    done = dict.fromkeys(range(len(restarts)), 0.0)

    def tell() -> None:
        for number, message, fraction in _news(told):
            done[number] = fraction
            progress(f"{called} {number + 1} of {len(restarts)}: {message}", sum(done.values()) / len(restarts))

    at_once = min(available_cores(), len(restarts))
    # Whenever a restart is killed, its last epoch is on disk.
    with (
        ProcessPoolExecutor(at_once, context, initializer=_begin, initargs=(told,)) as executor,
        children_ended_on_error(),
    ):
        try:
            waiting = {executor.submit(_train_here, train, restart) for restart in restarts}
            while waiting:
                ended, waiting = wait(waiting, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                tell()
                for one in ended:
                    one.result()
        except BrokenProcessPool as error:
            raise TrainError(f"a {called}'s process has died", hint="run the same command again to go on") from error
    tell()
    found = tuple(Ended(one.folder, History.of_run(one.folder)) for one in restarts)
    if restarts[0].dataset.validation is None:
        return found
    return tuple(sorted(found, key=lambda one: -one.history.val_miou))


def _news(told: Queue[Told]) -> Iterator[Told]:
    """Collect what restarts have told by now."""
    while True:
        try:
            yield told.get_nowait()
        except Empty:
            return


def _begin(told: Queue[Told]) -> None:
    """In each process: nobody but the parent ends it."""
    global _told
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _train_here(train: TrainRun, restart: Restart) -> None:
    train(
        restart.config,
        name=restart.name,
        data_root=None,
        dataset=restart.dataset,
        folder=restart.folder,
        seed=restart.seed,
        progress=lambda message, done: _told.put((restart.number, message, done)),
        force=True,  # a part of this run
    )


_told: Queue[Told]


def _summary(best: Ended, others: Sequence[Ended]) -> str:
    """Say which restart is kept, and what the others had."""
    had = ", ".join(f"{one.history.val_miou:.3f}" for one in others)
    return f"kept restart {best.folder.name}: validation mIoU {best.history.val_miou:.3f}, others {had}"
