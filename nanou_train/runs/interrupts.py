"""Handle requests to end: SIGTERM like Ctrl-C, both held back where needed, and the end of parent or children."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Interrupted = Callable[[], bool]
Report = Callable[[str, float], None]


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM. Off the main thread, where there are no signals, nothing changes."""
    with _handled(_interrupt, signal.SIGTERM):
        yield


@contextmanager
def interrupts_wait() -> Iterator[Interrupted]:
    """Note SIGINT and SIGTERM instead of acting on them; gives a function that says whether one has come.

    Whoever uses it acts on that afterwards. Ctrl-C comes twice, from the terminal and from the parent process, and the
    second must not interrupt what is done because of the first.
    """
    came: list[int] = []
    with _handled(lambda number, _frame: came.append(number), signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(came)


@contextmanager
def interrupts_act(interrupted: Interrupted) -> Iterator[None]:
    """Within `interrupts_wait`: act on them, one that has come already among them."""
    with _handled(_interrupt, signal.SIGINT, signal.SIGTERM):
        if interrupted():
            raise KeyboardInterrupt
        yield


@contextmanager
def interrupts_repeated(report: Report) -> Iterator[Report]:
    """Raise KeyboardInterrupt at SIGINT and SIGTERM, and at the next `report` again if it was swallowed.

    An exception that surfaces in a library's callback or a finalizer is lost. Gives the report to use instead.
    """
    came: list[int] = []

    def act(number: int, frame: Any) -> None:
        came.append(number)
        _interrupt(number, frame)

    def reported(message: str, done: float) -> None:
        report(message, done)
        if came:
            raise KeyboardInterrupt

    with _handled(act, signal.SIGINT, signal.SIGTERM):
        yield reported
        if came:
            raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Who was told to ignore one, as the processes of restarts are, goes on ignoring it.
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, handler)) for number in heeded]
    try:
        yield
    finally:
        for number, own in before:
            signal.signal(number, own)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def children_ended_on_error() -> Iterator[None]:
    """Kill the processes that were started in the block where it raises, as at Ctrl-C: a pool waits for them.

    For children that leave nothing half done, whenever they end.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        raise


def end_with_parent() -> None:
    """Make this child process end as soon as its parent has, so that whoever goes on has the folder alone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
