"""Opening a search's Optuna study, on a journal file or a database, alone or together with other workers.

Everything is Optuna's own format, so its dashboard and its command line read a study as any other.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nanou_train.errors import ConfigError, TrainError
from nanou_train.experiments.config import Sampler
from nanou_train.networks.architectures import near_names
from nanou_train.search.journal_lock import JournalLock

if TYPE_CHECKING:
    import optuna

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
FACTS = "search"  # the study's user attribute with what its workers must have in common
FACTS_WAIT_S = 10.0
OPEN_ATTEMPTS = 5


def import_optuna() -> Any:
    """Optuna with its own chatter off. Raises TrainError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise TrainError("Optuna is not installed", hint='pip install "nanou-deploy[train]"') from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_storage(place: str | Path) -> optuna.storages.BaseStorage:
    """A journal file, or a database by its URL (as SQLAlchemy writes them: postgresql+psycopg://USER@HOST/NAME).

    Raises TrainError where it cannot be reached, or would not be safe.
    """
    optuna = import_optuna()
    text = str(place)
    if "://" not in text:
        path = Path(text).absolute()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=JournalLock(path))
            return optuna.storages.JournalStorage(backend)  # type: ignore[no-any-return]
        except OSError as error:
            raise TrainError(f"cannot use the journal {path}: {error.strerror}", hint="choose another place") from error
        except ValueError as error:  # a line in its middle is no JSON
            raise TrainError(
                f"the journal {path} is damaged: {error}", hint="begin a search in another folder"
            ) from error
    if text.startswith("sqlite"):
        raise ConfigError(
            "SQLite does not lock rows, so two workers could take one trial",
            hint="leave --storage out (a journal file), or give a PostgreSQL or MySQL URL",
        )
    return _database(text)


def _database(url: str) -> optuna.storages.BaseStorage:
    import sqlalchemy.exc

    optuna = import_optuna()
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})  # type: ignore[no-any-return]
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


def make_sampler(name: str, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """`nsga2`, `tpe` or `random`; NSGA-II has about five generations in `trials`. Raises ConfigError."""
    optuna = import_optuna()
    with _quiet(optuna):
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=population_size(trials), seed=seed)  # type: ignore[no-any-return]
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)  # type: ignore[no-any-return]
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)  # type: ignore[no-any-return]
    raise ConfigError(f'no sampler "{name}"', hint=near_names(name, SAMPLERS))


def population_size(trials: int) -> int:
    return min(50, max(8, trials // 5))


def join_study(
    storage: optuna.storages.BaseStorage,
    name: str,
    metrics: Mapping[str, str],
    facts: Mapping[str, Any],
    *,
    sampler: optuna.samplers.BaseSampler,
    seeds: Sequence[Mapping[str, Any]] = (),
) -> optuna.Study:
    """The study `name`, made here if nobody else has, with `seeds` as its first trials.

    `metrics` are the objectives, "maximize" or "minimize" by name; `facts` (JSON types) are what all workers must have
    in common. Raises ConfigError, naming what differs, where the study was begun with others.
    """
    optuna, facts = import_optuna(), json.loads(json.dumps(facts))  # as they come back from storage
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=list(metrics.values()), sampler=sampler, load_if_exists=False
        )
        made = True
    except optuna.exceptions.DuplicatedStudyError:
        study, made = optuna.load_study(storage=storage, study_name=name, sampler=sampler), False
    if not made:
        deadline = time.monotonic() + FACTS_WAIT_S
        while FACTS not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.1)
        made = FACTS not in study.user_attrs  # whoever made it died at once
    if made:
        with _quiet(optuna):
            study.set_metric_names(list(metrics))
        study.set_user_attr(FACTS, facts)
        for values in seeds if not study.get_trials(deepcopy=False) else ():
            study.enqueue_trial(dict(values))
    found = study.user_attrs[FACTS]
    if different := sorted(key for key in {*facts, *found} if facts.get(key) != found.get(key)):
        raise ConfigError(
            f'the search "{name}" was begun with other {", ".join(different)}',
            hint="use the same options to go on with it, or another --output to begin a new one",
        )
    return study  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
