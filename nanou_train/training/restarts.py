"""The student several times from several seeds, side by side, of which the best on the validation part is kept.

Two trainings of a network of a few thousand weights differ by more than most settings of a recipe, and such a network
keeps one core busy rather than two: a second one costs memory. Each is a run of its own, RUN/restarts/NN.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import NamedTuple

from nanou_train.data.dataset import Dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.training.benchmark import available_cores
from nanou_train.training.fit import FitResult

Told = tuple[int, str, float]  # number, message, progress; an error's message has progress FAILED
FOLDER = "restarts"
SEED_STEP = 1000  # so that neighbouring seeds share no restart
FAILED = -1.0
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
    fit: FitResult


def restarts_of(
    config: ExperimentConfig, dataset: Dataset, folder: Path, seed: int, name: str, teacher: Path | None
) -> tuple[Restart, ...]:
    """`config.restarts` trainings below a run's folder; the first is what the run would be without restarts."""

    def one(number: int) -> Restart:
        label = f"{number + 1:02d}"
        own = {
            "restarts": 1,
            "teacher_weights": teacher,
            "checkpoint_path": None,
            "log_dir": config.log_dir / label if config.log_dir else None,
            "constraints": None,
        }
        place = folder / FOLDER / label
        return Restart(number, name, config.model_copy(update=own), dataset, seed + SEED_STEP * number, place)

    return tuple(one(number) for number in range(config.restarts))


def train_restarts(restarts: tuple[Restart, ...], progress: Callable[[str, float], None]) -> tuple[Ended, ...]:
    """Train all, as many at once as there are cores; best first. Completed ones are taken as they are.

    Raises TrainError where one fails. Without this process, the others end at once.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    at_once = available_cores()
    told: Queue[Told] = context.Queue()
    waiting, working, done = list(restarts), list[SpawnProcess](), dict.fromkeys(range(len(restarts)), 0.0)
    try:
        while waiting or working:
            while waiting and len(working) < at_once:
                process = context.Process(target=_train_here, args=(waiting.pop(0), told))
                process.start()
                working.append(process)
            for number, message, fraction in _news(told):
                if fraction == FAILED:
                    raise TrainError(message)
                done[number] = fraction
                progress(f"restart {number + 1} of {len(restarts)}: {message}", sum(done.values()) / len(restarts))
            for process in [one for one in working if not one.is_alive()]:
                if process.exitcode and told.empty():
                    raise TrainError(
                        f"a restart ended with exit code {process.exitcode}", hint="run the same command again to go on"
                    )
                working.remove(process)
    finally:
        for process in working:
            process.kill()  # each epoch is on disk
            process.join()
    ended = (Ended(one.folder, FitResult.of_run(one.folder)) for one in restarts)
    return tuple(sorted(ended, key=lambda one: -one.fit.val_miou))


def _news(told: Queue[Told]) -> Iterator[Told]:
    """What has been told by now, after a short wait for it."""
    wait_s = LOOK_S
    while True:
        try:
            yield told.get(timeout=wait_s)
        except Empty:
            return
        wait_s = 0.0


def _train_here(restart: Restart, told: Queue[Told]) -> None:
    """In a process of its own."""
    from nanou_train.training.train import train_experiment

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = train_experiment(
            restart.config,
            name=restart.name,
            data_root=None,
            dataset=restart.dataset,
            folder=restart.folder,
            seed=restart.seed,
            progress=lambda message, done: told.put((restart.number, message, done)),
            reuse=True,
        )
        error = result["error"]
    except KeyboardInterrupt:  # Ctrl-C, which the parent has got as well
        sys.exit(130)
    except TrainError as failure:
        error = failure.advice
    if error:
        told.put((restart.number, error, FAILED))
        sys.exit(1)


def _end_with_parent() -> None:
    """Die as soon as the parent has, so that whoever goes on has the folder alone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def summary(best: Ended, others: Sequence[Ended]) -> str:
    """Which one is kept, and what the others had."""
    had = ", ".join(f"{one.fit.val_miou:.3f}" for one in others)
    return f"kept restart {best.folder.name}: validation mIoU {best.fit.val_miou:.3f}, others {had}"
