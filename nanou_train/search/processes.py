"""Runs one search in several processes of this machine; other machines run the same command on the same storage."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from nanou_train.errors import TrainError
from nanou_train.runs.interrupts import end_with_parent, sigterm_interrupts
from nanou_train.search.attempts import is_over

if TYPE_CHECKING:
    import optuna

LOOK_S = 1.0
END_S = 20.0  # for giving a trial back


def work_in_processes(
    work: Callable[[], None], study: optuna.Study, total: int, *, workers: int, report: Callable[[], None]
) -> None:
    """Call `work` (picklable) in as many processes, until the study is over.

    Interrupted (Ctrl-C, SIGTERM, a crash), the same call goes on. Raises TrainError where all have died before the end.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    processes = [context.Process(target=_work_here, args=(work,), name=f"search-{index}") for index in range(workers)]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(LOOK_S)
            report()
    finally:
        _end(processes)
    if not is_over(study.get_trials(deepcopy=False), total):
        raise TrainError("all workers have ended before the search has", hint="run the same command again to go on")


def _end(processes: list[SpawnProcess]) -> None:
    """Ask all to stop, wait, and kill who does not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + END_S
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()


def _work_here(work: Callable[[], None]) -> None:
    end_with_parent()
    with sigterm_interrupts():
        try:
            work()
        except KeyboardInterrupt:
            sys.exit(130)
        except TrainError as error:
            sys.exit(error.advice)
