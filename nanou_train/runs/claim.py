"""Claim a folder to write into: one process at a time, apart from what is read, nothing complete replaced unasked."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from nanou_train.errors import TrainError

LOCK = ".lock"
_held: set[Path] = set()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold FOLDER/.lock, a lock of the operating system that ends with the process, however that ends.

    Who holds it already in this process goes on. Makes the folder. Raises TrainError where another process holds it,
    and where nothing can be written.
    """
    own = folder.resolve()
    if own in _held:
        yield
        return
    try:
        own.mkdir(parents=True, exist_ok=True)
        descriptor = _take(own / LOCK)
    except OSError as error:
        raise TrainError(
            f"cannot write into {folder}: {error.strerror or error}", hint="check the path, its rights and the disk"
        ) from error
    if descriptor is None:
        raise TrainError(
            f"another process is writing into {folder}: {_holder(own / LOCK)}",
            hint="wait for it to end, or choose another output folder",
        )
    _held.add(own)
    try:
        yield
    finally:
        _held.discard(own)
        try:
            (own / LOCK).unlink(missing_ok=True)
        except OSError:  # a folder that has become read-only keeps the file, which locks nothing
            pass
        finally:
            os.close(descriptor)


def check_apart(output: Path, *sources: Path | None) -> None:
    """Raise TrainError where writing into `output` would destroy a source: one is the other, or lies in it."""
    place = output.resolve()
    for source in sources:
        if source is not None and (place == source.resolve() or place in source.resolve().parents):
            raise TrainError(f"{output} holds {source}, which this reads", hint="choose another output folder")


def _take(path: Path) -> int | None:
    """Take a descriptor that holds the lock; None where another process does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except FileNotFoundError:  # the one before removed it between opening and locking
            pass
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:100] or "it has just begun"
    except OSError:
        return "it is just ending"
