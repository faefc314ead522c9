"""Lose no Ctrl-C: neither in a finalizer nor in a library that makes an error of its own of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_AGAIN_S = 0.02


@contextmanager
def no_interrupt_lost() -> Iterator[Callable[[], bool]]:
    """Have Ctrl-C come again where Python can but report it; give a function that says whether one has come.

    What ends a command after one is its doing, whatever a library's C code has made of it.
    """
    reported = sys.unraisablehook

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # At once, it would be lost in here.
            threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            reported(unraisable)

    sys.unraisablehook = again
    try:
        with _noted() as came:
            yield came
    finally:
        sys.unraisablehook = reported


@contextmanager
def _noted() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGINT has come, whoever handles it: Python writes each signal's number."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def came() -> bool:
        with suppress(BlockingIOError):
            return signal.SIGINT in os.read(reader, 1 << 16)
        return False

    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
