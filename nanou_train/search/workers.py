"""One search by several processes of this machine; other machines run the same command on the same storage."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnProcess

from nanou_train.errors import TrainError
from nanou_train.runs.interrupts import sigterm_interrupts
from nanou_train.search.ledger import Ledger
from nanou_train.search.search import Evaluator, SearchSettings, open_search, work
from nanou_train.search.search_result import Progress, Report, SearchResult, result_of
from nanou_train.search.worker import Worker

Work = Callable[..., int]
LOOK_S = 1.0
END_S = 20.0  # for giving a trial back


def run_search(
    settings: SearchSettings, evaluator: Evaluator, *, workers: int = 1, progress: Progress | None = None
) -> SearchResult:
    """Search until every trial of the study has ended, here or elsewhere. Raises as `run_workers`."""
    ledger = open_search(settings, Worker.here(settings.beat_s))
    report = Report(ledger, settings.minimize, progress)
    run_workers(partial(work, settings, evaluator), ledger, workers=workers, report=report, progress=progress)
    return result_of(ledger, settings.minimize)


def run_workers(
    work: Work, ledger: Ledger, *, workers: int, report: Callable[[], None], progress: Progress | None
) -> None:
    """Work on a study until it is over: in this process, or in several.

    `work` (picklable) takes `progress` and `should_stop`. Interrupted (Ctrl-C, SIGTERM, a crash), the same call goes
    on. Raises TrainError where all workers have died before the end, and what `work` raises in this process.
    """
    if ledger.is_over():
        return
    with sigterm_interrupts():
        if workers == 1:
            work(progress=progress)
        else:
            _supervise(work, workers, report)
    if not ledger.is_over():
        raise TrainError("all workers have ended before the search has", hint="run the same command again to go on")


def _supervise(work: Work, workers: int, report: Callable[[], None]) -> None:
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    processes = [
        context.Process(target=_work_here, args=(work, os.getpid()), name=f"search-{index}") for index in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(LOOK_S)
            report()
    except KeyboardInterrupt:
        _end(processes)
        raise


def _end(processes: list[SpawnProcess]) -> None:
    """Ask all to stop, wait, and kill who does not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + END_S
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()


def _work_here(work: Work, parent: int) -> None:
    """In a process of its own; without its parent it stops after the epoch that it is in."""
    with sigterm_interrupts():
        try:
            work(should_stop=partial(_is_orphan, parent))
        except KeyboardInterrupt:
            sys.exit(130)
        except TrainError as error:
            sys.exit(error.advice)


def _is_orphan(parent: int) -> bool:
    return os.getppid() != parent
