"""The lock of a journal file: safe over NFS, not left behind by a process that died, and it mends a torn last line.

Optuna's own locks wait 30 s for a holder that was killed, and two that give up waiting at once can both get it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from pathlib import Path

from nanou_train.search.worker import Worker

STALE_S = 60.0  # a holder on another machine that does not let go for so long has died; writing takes milliseconds
LONGEST_WAIT_S = 0.05


class JournalLock:
    """What optuna.storages.journal.JournalFileBackend takes as `lock_obj`, with its `acquire` and `release`.

    The lock is a file beside the journal that says who holds it, made by link(2), which is atomic on NFS as well. A
    holder of this machine whose process is gone is removed at once. Those that find it so take turns by flock(2), which
    the system itself releases, so none removes the lock that another has just taken.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = journal.with_name(f"{journal.name}.lock")
        self._own, self._held = Worker.here(beat_s=0.0), ""

    def acquire(self) -> bool:
        """Wait for the lock; with it, cut off a last line without its end.

        A machine that failed while writing leaves such a line, and Optuna would append to it, which makes the journal
        unreadable. Nobody has acted on it: a line counts once its writer has read it back.
        """
        ticket = uuid.uuid4().hex
        offered = self._lock.with_name(f"{self._lock.name}.{ticket}")
        offered.write_text(json.dumps({**self._own.beat(0), "ticket": ticket}))
        wait_s, since, found = 0.001, time.monotonic(), ""
        try:
            while True:
                try:
                    os.link(offered, self._lock)
                    self._held = offered.read_text()
                    break
                except FileExistsError:
                    holder = self._holder()
                    if holder != found:
                        since, found = time.monotonic(), holder
                    if self._is_gone(holder) or time.monotonic() - since > STALE_S:
                        self._remove(holder)
                        continue
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        finally:
            offered.unlink()
        cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        if self._holder() == self._held:  # after a long sleep it may be another's
            self._lock.unlink(missing_ok=True)

    def _holder(self) -> str:
        try:
            return self._lock.read_text()
        except OSError:  # released meanwhile
            return ""

    def _is_gone(self, holder: str) -> bool:
        return bool(holder) and self._own.knows_gone(json.loads(holder))

    def _remove(self, holder: str) -> None:
        with self._lock.with_name(f"{self._lock.name}.turn").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if self._holder() == holder:
                self._lock.unlink(missing_ok=True)


def cut_torn_line(path: Path) -> None:
    """Shorten a file to the end of its last complete line. The caller holds the file's lock."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
