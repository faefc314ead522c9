"""Opens the storage of a search: a journal file or a database, with a heartbeat for each running trial.

Databases have Optuna's own heartbeat. Its journal has none, and appends to a line that a crash has left unfinished,
after which it cannot be read: `HeartbeatJournal` and `MendingLock` add these two. Trials whose heartbeat has stopped
are ended by `study.optimize` and put back in the queue by `nanou_train.search.attempts.retry`.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from codegen.untrusted import shown
from nanou_train.errors import ConfigError, TrainError
from nanou_train.search.attempts import retry

try:
    import optuna
    import sqlalchemy.exc
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages._heartbeat import BaseHeartbeat  # what a storage inherits to have one
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, TrialState
except ImportError as missing:
    raise TrainError("Optuna is not installed", hint='pip install "nanou-deploy[train]"') from missing

Stale = Callable[[optuna.Study, FrozenTrial], None]
GRACE = 6  # heartbeats that may be missed
LOCK_GRACE = 3  # shorter, or all would look dead while they wait for the lock of one that is
HEARTBEAT = "heartbeat"
OPEN_ATTEMPTS = 5


class HeartbeatJournal(JournalStorage, BaseHeartbeat):
    """A journal in which each running trial has a heartbeat: a system attribute that changes every few seconds.

    A trial is stale once this process has seen no change for GRACE heartbeats by its own clock, so that machines which
    share the file need not agree about the time.
    """

    def __init__(self, path: Path, heartbeat_s: int) -> None:
        self._heartbeat_s = heartbeat_s
        self._seen: dict[int, tuple[float | None, float]] = {}  # by trial: its heartbeat, and since when
        super().__init__(JournalFileBackend(str(path), lock_obj=MendingLock(path, LOCK_GRACE * heartbeat_s)))

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError, OSError):  # a few may be missed
            self.set_trial_system_attr(trial_id, HEARTBEAT, time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now, stale = time.monotonic(), []
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            heartbeat = trial.system_attrs.get(HEARTBEAT)
            before, since = self._seen.get(trial._trial_id, (None, now))
            since = since if before == heartbeat else now
            self._seen[trial._trial_id] = heartbeat, since
            if now - since > GRACE * self._heartbeat_s:
                stale.append(trial._trial_id)
        return stale

    def get_heartbeat_interval(self) -> int:
        return self._heartbeat_s

    def get_heartbeat_stale_trial_callback(self) -> Stale:
        return retry


class MendingLock(JournalFileOpenLock):
    """The lock of a journal file; whoever takes it cuts off a last line that has no end.

    A full disk, a power failure or a kill in the middle of writing leaves one. Nobody has acted on it, as a line counts
    once its writer has read it back.
    """

    def __init__(self, journal: Path, grace_s: int) -> None:
        super().__init__(str(journal), grace_period=grace_s)
        self._journal = journal

    def acquire(self) -> bool:
        super().acquire()
        try:
            with self._journal.open("r+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - 1))
                if file.read(1) not in (b"", b"\n"):
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        with contextlib.suppress(RuntimeError):  # it hung for so long that others took the lock
            super().release()


class Database(RDBStorage):
    """Optuna's database storage; a trial whose worker died before its first heartbeat becomes stale as well."""

    def record_heartbeat(self, trial_id: int) -> None:
        with contextlib.suppress(optuna.exceptions.StorageInternalError):  # a few may be missed
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Give trials without a heartbeat, which Optuna overlooks, one from now."""
        silent = sqlalchemy.text(
            "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'RUNNING'"
            " AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)"
        )
        with self.engine.begin() as connection:
            trial_ids = connection.execute(silent, {"study": study_id}).scalars().all()
        for trial_id in trial_ids:
            self.record_heartbeat(trial_id)
        return super()._get_stale_trial_ids(study_id)


def open_storage(place: str | Path, heartbeat_s: int) -> optuna.storages.BaseStorage:
    """Open a journal file, or a database by its URL (as SQLAlchemy writes them: postgresql+psycopg://USER@HOST/NAME).

    Raises TrainError where it cannot be reached, or would not be safe.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats are called that
    text = str(place)
    if text.startswith("sqlite"):
        raise ConfigError(
            "SQLite does not lock rows, so two workers could take one trial",
            hint="leave --storage out (a journal file), or give a PostgreSQL or MySQL URL",
        )
    return _database(text, heartbeat_s) if "://" in text else _journal(Path(text).absolute(), heartbeat_s)


def _journal(path: Path, heartbeat_s: int) -> HeartbeatJournal:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return HeartbeatJournal(path, heartbeat_s)
    except OSError as error:
        raise TrainError(f"cannot use the journal {path}: {error.strerror}", hint="choose another place") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        # A line in its middle is no JSON, or none of Optuna's records.
        raise TrainError(
            f"the journal {path} is damaged: {shown(str(error))}", hint="begin a search in another folder"
        ) from error


def _database(url: str, heartbeat_s: int) -> Database:
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            return Database(
                url,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=heartbeat_s,
                grace_period=GRACE * heartbeat_s,
                heartbeat_stale_trial_callback=retry,
            )
        except ImportError as error:
            raise TrainError(
                f"no driver for {_without_password(url)}: {error}",
                hint='for PostgreSQL: pip install "psycopg[binary]" and a URL with postgresql+psycopg://',
            ) from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if attempt == OPEN_ATTEMPTS or isinstance(error, sqlalchemy.exc.ArgumentError):
                raise TrainError(
                    f"cannot open {_without_password(url)}: {str(error).splitlines()[0]}",
                    hint="check the URL, and whether the server runs and lets you in",
                ) from error
            time.sleep(0.3 * attempt)  # two workers that both make the tables: one of them fails once
    raise AssertionError


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}://{account.partition(':')[0]}{at}{place}"
