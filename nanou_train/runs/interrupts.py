"""Handles requests to end: SIGTERM like Ctrl-C, both held back where needed, and the end of a parent process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM as KeyboardInterrupt. Off the main thread, where there are no signals, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Note SIGINT and SIGTERM instead of acting on them; gives a function that says whether one has come.

    Whoever uses it acts on that afterwards. Ctrl-C comes twice, from the terminal and from the parent process, and the
    second must not interrupt what is done because of the first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, lambda number, _frame: came.append(number)) for name in names]
    try:
        yield lambda: bool(came)
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


def end_with_parent() -> None:
    """Make this child process end as soon as its parent has, so that whoever goes on has the folder alone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
