"""Being asked to end: SIGTERM like Ctrl-C, and both only between what belongs together."""

from __future__ import annotations

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
