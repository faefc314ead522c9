"""Trials of dead workers are taken up again and completed once, on a journal file and in PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nanou_train.errors import ConfigError, TrainError
from nanou_train.search.attempts import counts_of, is_over, retry, root_of
from nanou_train.search.optimize import optimize
from nanou_train.search.study import Direction, join_study, make_sampler
from tests.conftest import missing
from tests.train.postgres_server import postgres_programs, postgres_server
from tests.train.search_drill import drill, tally

if TYPE_CHECKING:
    import optuna

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # a dead worker has only asked
METRICS: dict[str, Direction] = {"miou": "maximize", "cost": "minimize"}
Opens = Callable[[], "optuna.Study"]


@pytest.fixture(autouse=True)
def _optuna(require_module: Callable[[str], None]) -> None:
    require_module("optuna")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    if postgres_programs() is None:
        missing("PostgreSQL")
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["journal", "postgres"])
def opens(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opens:
    """Opens one study, each time as another worker of this process; two heartbeats missed are enough."""
    from nanou_train.search import storage

    monkeypatch.setattr(storage, "GRACE", 2)
    place = str(tmp_path / "journal.log") if request.param == "journal" else request.getfixturevalue("postgres")

    def open_as() -> optuna.Study:
        opened = storage.open_storage(place, 1)
        return join_study(opened, tmp_path.name, METRICS, {"about": 1}, sampler=make_sampler("random", 0, 4))

    return open_as


def _complete(trial: optuna.Trial) -> tuple[float, float]:
    return 0.5, float(trial.suggest_int("width", 1, 8))


@pytest.mark.parametrize("has_beaten", [True, False])
def test_the_trial_of_a_dead_worker_goes_on_where_it_was(
    opens: Opens, has_beaten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.exceptions import UpdateFinishedTrialError

    dead, alive = opens(), opens()
    taken = dead.ask()
    width = taken.suggest_int("width", 1, 8)
    taken.set_user_attr("rung_0", 0.4)
    if has_beaten:
        dead._storage.record_heartbeat(taken._trial_id)  # type: ignore[attr-defined]
    seen = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        seen.append((trial.number, trial.user_attrs["rung_0"]))
        return _complete(trial)

    optimize(alive, 1, objective)
    assert seen == [(1, 0.4)]
    again = alive.get_trials()[1]
    assert (root_of(again), again.params) == (0, {"width": width})
    with pytest.raises(UpdateFinishedTrialError):  # it was not dead after all; its result comes too late
        taken.set_user_attr("rung_1", 0.5)
    assert tally(opens(), 1).once == (0,)


def test_a_worker_that_beats_keeps_its_trial(opens: Opens) -> None:
    from optuna.storages import fail_stale_trials

    worker, other = opens(), opens()

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        for _ in range(16):
            time.sleep(0.25)
            fail_stale_trials(other)
        return _complete(trial)

    optimize(worker, 1, objective)
    assert [one.state.name for one in other.get_trials()] == ["COMPLETE"]


def test_a_worker_that_was_only_slow_drops_its_result_and_goes_on(opens: Opens) -> None:
    slow, other = opens(), opens()
    numbers = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        numbers.append(trial.number)
        if trial.number == 0:
            other.tell(0, state=_state("FAIL"))
            retry(other, other.get_trials()[0])
        return _complete(trial)

    optimize(slow, 2, objective)
    assert numbers == [0, 1, 2]
    assert [one.state.name for one in other.get_trials()] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert (tally(other, 2).once, tally(other, 2).doubled) == ((0, 2), ())


def test_a_trial_that_nobody_has_put_back_is_put_back(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    from nanou_train.search import optimize as module

    monkeypatch.setattr(module, "LOST_S", 0.5)
    study = opens()
    study.tell(study.ask(), state=_state("FAIL"))  # and the worker dies here
    assert not is_over(study.get_trials(), 1)
    optimize(study, 1, _complete)
    assert [one.state.name for one in study.get_trials()] == ["FAIL", "COMPLETE"]


def test_two_workers_take_no_more_than_what_is_asked_for(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opens(), opens()
    asked: list[int] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        if not asked:  # two has asked at the same moment
            asked.append(two.ask().number)
        return _complete(trial)

    optimize(one, 1, objective)
    assert asked == [1]
    counts = counts_of(two.get_trials(), 1)
    assert (counts.complete, counts.surplus) == (1, 1)
    optimize(one, 2, objective)  # the second counts now, and has nobody who works on it
    assert tally(two, 2).once == (0, 1)


def test_a_study_is_joined_only_with_what_it_was_begun_with(opens: Opens) -> None:
    found = opens()
    with pytest.raises(ConfigError, match="was begun with other about, rungs"):
        join_study(found._storage, found.study_name, METRICS, {"about": 2, "rungs": [1]}, sampler=found.sampler)


def test_places_that_are_no_good_are_refused(tmp_path: Path) -> None:
    from nanou_train.search.storage import open_storage

    with pytest.raises(ConfigError, match="SQLite"):
        open_storage(f"sqlite:///{tmp_path / 'study.db'}", 1)
    with pytest.raises(TrainError, match="cannot open postgresql\\+psycopg9://somebody@nowhere/study"):
        open_storage("postgresql+psycopg9://somebody:secret@nowhere/study", 1)
    with pytest.raises(ConfigError, match='no sampler "nsga"'):
        make_sampler("nsga", 0, 10)
    journal = tmp_path / "journal.log"
    open_storage(journal, 1)
    for text in (
        "no JSON\n{}\n",
        "[]\n",
        "{}\n",
        '{"op_code": 99}\n',
        '{"op_code": 4, "worker_id": "x"}\n',
        "[" * 9999 + "\n",
    ):
        journal.write_text(text)
        with pytest.raises(TrainError, match="is damaged"):
            open_storage(journal, 1)


def test_a_line_torn_by_a_power_failure_is_cut_off(tmp_path: Path) -> None:
    from nanou_train.search.storage import open_storage

    def join() -> optuna.Study:
        return join_study(
            open_storage(journal, 1), "study", METRICS, {"about": 1}, sampler=make_sampler("random", 0, 4)
        )

    journal = tmp_path / "journal.log"
    join()
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "worker')
    optimize(join(), 1, _complete)
    assert len(join().get_trials()) == 1
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_the_lock_of_a_dead_process_holds_others_up_for_less_than_makes_them_look_dead(tmp_path: Path) -> None:
    from nanou_train.search import storage

    journal = tmp_path / "journal.log"
    opened = storage.open_storage(journal, 1)
    lock = Path(f"{journal}.lock")
    lock.touch()
    started = time.monotonic()
    opened.create_new_study([_direction()], "study")
    assert 0 < storage.LOCK_GRACE <= time.monotonic() - started < storage.GRACE
    assert not lock.exists()


def test_a_journals_heartbeat_is_judged_by_the_clock_of_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nanou_train.search import storage

    journal = storage.HeartbeatJournal(tmp_path / "journal.log", 10)
    study_id = journal.create_new_study([_direction()], "study")
    trial_id, now = journal.create_new_trial(study_id), [0.0]
    monkeypatch.setattr(storage.time, "monotonic", lambda: now[0])
    for clock in (5000.0, 10.0, 7000.0):  # of the machine that beats
        monkeypatch.setattr(storage.time, "time", lambda clock=clock: clock)
        journal.record_heartbeat(trial_id)
        now[0] += 59.0
        assert journal._get_stale_trial_ids(study_id) == []
    now[0] += 60.0
    assert journal._get_stale_trial_ids(study_id) == []
    now[0] += 0.5
    assert journal._get_stale_trial_ids(study_id) == [trial_id]


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "postgres"])
def test_two_workers_of_which_one_is_killed_complete_every_trial_once(
    storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = "" if storage == "journal" else request.getfixturevalue("postgres")
    options = {"trials": 12, "storage": place, "work_ms": 50}
    assert drill(options, tmp_path / f"drill-{tmp_path.name}", workers=2, kills=1, seed=1)


def _state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]


def _direction() -> optuna.study.StudyDirection:
    import optuna

    return optuna.study.StudyDirection.MINIMIZE
