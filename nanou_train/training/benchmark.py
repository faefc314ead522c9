"""Measure training in images per second: preparing data, the step, and both together.

Each measurement is taken in a process of its own that may use a given number of CPU cores.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.runs.interrupts import children_ended_on_error

if TYPE_CHECKING:
    from nanou_train.data.dataset import Dataset


@dataclass(frozen=True)
class TrainingSpeed:
    """Images per second of a training on `cores` cores.

    `preparation`: order, augmentation and normalization alone; `step`: the update alone, on one batch again and again;
    `together`: as a training runs. `busy_cores` is processor time by wall time of the latter; `epoch_s` is what one
    pass over all `images` takes at that pace, validation not counted.
    """

    cores: int
    images: int
    batch_size: int
    preparation_images_per_s: float
    step_images_per_s: float
    images_per_s: float
    busy_cores: float
    epoch_s: float


def measure(
    config: ExperimentConfig,
    data_root: Path | None,
    cores: Sequence[int],
    steps: int,
    progress: Callable[[str], None] = lambda _message: None,
) -> list[TrainingSpeed]:
    """Measure for each number of cores. Raises ConfigError for more cores than there are, DataError for the data."""
    available = available_cores()
    for count in cores:
        if not 1 <= count <= available:
            raise ConfigError(f"{count} cores: there are 1 to {available} here", hint=f"use --cores {available}")
    from nanou_train.training.start import load_training_data

    _, dataset = load_training_data(config, data_root, seed=0)
    results = []
    for count in cores:
        progress(f"{count} of {available} cores: {steps} batches prepared, as many steps, then both together")
        with ProcessPoolExecutor(1, get_context("spawn"), _limit, (count,)) as pool, children_ended_on_error():
            results.append(pool.submit(_measure, config, dataset, count, steps).result())
    return results


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit(cores: int) -> None:
    """Restrict a process to so many cores, before TensorFlow is loaded and counts them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    for name in ("TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(cores)


def _measure(config: ExperimentConfig, dataset: Dataset, cores: int, steps: int) -> TrainingSpeed:
    from itertools import islice

    from nanou_train.networks.architectures import create_model_from_config
    from nanou_train.training.loop import TrainingLoop
    from nanou_train.training.start import initial_student

    classes = len(dataset.classes)
    teacher = create_model_from_config(config.network("teacher", classes)) if config.distillation.enabled else None
    loop = TrainingLoop(initial_student(config, classes), teacher, config, dataset.train, 0, None)
    step = loop.step_of(1)

    def batches() -> list[tuple[object, ...]]:
        return list(islice(loop.batches(1), steps))

    batch = list(map(loop.placed, next(iter(loop.batches(1)))))
    float(step(*batch)["loss"])  # compiled here
    count = min(steps, loop.steps)
    preparation_s = _seconds(batches)
    step_s = _seconds(lambda: [float(step(*batch)["loss"]) for _ in range(count)])
    before, started = _processor_s(), time.perf_counter()
    for prepared in islice(loop.batches(1), count):
        float(step(*map(loop.placed, prepared))["loss"])
    together_s = time.perf_counter() - started
    done = count * loop.batch_size
    return TrainingSpeed(
        cores,
        len(dataset.train),
        loop.batch_size,
        done / preparation_s,
        done / step_s,
        done / together_s,
        (_processor_s() - before) / together_s,
        len(dataset.train) * together_s / done,
    )


def _seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
