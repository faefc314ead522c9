"""Hold back what this process prints, its native code included: in a file that can be read."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

_one_thread = RLock()  # a second one would take the first one's file for the original


@contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Redirect file descriptors 1 and 2, where C++ prints, into a file; yields a function that reads it.

    Process-wide while it lasts: another thread's output is held back too. Nests. One thread at a time; others wait.
    """
    libc = ctypes.CDLL(None)

    def flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        libc.fflush(None)

    with _one_thread:
        flush()
        saved = [os.dup(descriptor) for descriptor in (1, 2)]
        with tempfile.TemporaryFile() as sink:

            def text() -> str:
                flush()
                sink.seek(0)
                return sink.read().decode(errors="replace")

            try:
                for descriptor in (1, 2):
                    os.dup2(sink.fileno(), descriptor)
                yield text
            finally:
                flush()
                for descriptor, original in zip((1, 2), saved, strict=True):
                    os.dup2(original, descriptor)
                    os.close(original)


@contextmanager
def silenced() -> Iterator[None]:
    """Print nothing, unless an exception comes: then what was held back goes to standard error after all."""
    said = ""
    try:
        with captured_output() as text:
            try:
                yield
            except BaseException:
                said = text()
                raise
    finally:
        sys.stderr.write(said)
