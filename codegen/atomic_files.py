"""Write files whole or not at all: a reader, or a run after a crash, sees the old content or the new."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, *, may_exist: bool = True) -> Iterator[Path]:
    """Yield a path beside `path` to write to, of the same suffix; on success it takes `path`'s place in one step.

    Where the block raises, `path` keeps what it had and nothing is left beside it. Missing folders are made. Raises
    OSError; FileExistsError where `path` is there and must not be, or is a device or pipe, which would be gone.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileExistsError(errno.EEXIST, "a device or pipe, and no file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name without the content
        if may_exist:
            partial.replace(path)
        else:
            path.hardlink_to(partial)
    except OSError as error:
        if error.filename2 is None and error.filename in (None, str(partial)):
            error.filename = str(path)  # the other name is gone
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace the file's content, or make the file. Raises OSError."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the file's content by UTF-8 text, or make the file. Raises OSError."""
    write_bytes(path, text.encode())
