"""Trials are claimed once, taken over from the dead, and completed once, on a journal file and in PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanou_train.errors import ConfigError, TrainError
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search import ledger as ledger_module
from nanou_train.search.journal_lock import JournalLock
from nanou_train.search.ledger import MAX_ATTEMPTS, Claim, Ledger
from nanou_train.search.pulse import Pulse
from nanou_train.search.space import Space
from nanou_train.search.study import join_study, make_sampler, open_storage
from nanou_train.search.worker import Worker
from tests.conftest import missing
from tests.train.postgres_server import postgres_programs, postgres_server
from tests.train.search_drill import drill

SPACE = Space(Structure("nano_u", (12, 16, 3), (Level((Block(8),), (2, 2), (Block(8),)),), ()), vary=("width", "skip"))
METRICS = {"miou": "maximize", "cost": "minimize"}
Opens = Callable[..., Ledger]


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
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Opens:
    """Opens one study, each time as another worker of this process."""
    place = str(tmp_path / "journal.log") if request.param == "journal" else request.getfixturevalue("postgres")

    def open_as(total: int = 6, name: str = "", **changes: object) -> Ledger:
        study = join_study(
            open_storage(place),
            f"{tmp_path.name}{name}",
            METRICS,
            {"about": 1},
            sampler=make_sampler("random", 0, total),
        )
        return Ledger(study, SPACE.distributions(), total, replace(Worker.here(beat_s=1.0), **changes))  # type: ignore[arg-type]

    return open_as


def _claim(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def test_trials_are_claimed_once_and_never_more_than_asked_for(opens: Opens) -> None:
    one, two = opens(3), opens(3)
    claims = [_claim(one), _claim(two), _claim(one)]
    assert [claim.number for claim in claims] == [0, 1, 2]
    assert one.claim() is None
    assert two.claim() is None
    assert not one.is_over()
    assert all(one.complete(claim, [0.5, 1.0], {"ram": -0.1}) for claim in claims)
    assert one.is_over()
    assert (two.counts().complete, two.counts().surplus) == (3, 0)
    assert opens(4).claim() is not None  # a later command may ask for more


def test_a_trial_that_two_made_at_the_same_moment_is_surplus(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opens(1), opens(1)
    monkeypatch.setattr(two, "_is_some_left", iter([True, False]).__next__)
    assert _claim(one).number == 0
    assert two.claim() is None
    assert (two.counts().surplus, two.counts().running) == (1, 1)
    assert two.audit().lost == (0,)


def test_the_trial_of_a_process_that_is_gone_is_taken_over_at_once(opens: Opens) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, alive = opens(1, pid=int(gone.stdout)), opens(1)
    lost = _claim(dead)
    assert dead.write(lost.trial, {"rung_0": 0.4})
    assert alive.claim() is None
    assert alive.take_over() == 1
    retry = _claim(alive)
    assert (retry.number, retry.root, retry.previous, retry.values) == (1, 0, 0, lost.values)
    assert retry.before["rung_0"] == 0.4
    assert alive.complete(retry, [0.6, 1.0], {})
    assert not dead.complete(lost, [0.9, 1.0], {})  # it was not dead after all; its result comes too late
    assert not dead.write(lost.trial, {"rung_1": 0.5})
    assert not dead.fail(lost, "too late")
    assert not dead.give_back(lost)
    assert alive.is_over()
    assert (alive.audit().once, alive.audit().doubled, alive.audit().lost) == ((0,), (), ())


def test_elsewhere_only_missing_beats_tell_that_a_worker_is_dead(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: now[0])
    far, here = opens(1, machine="another"), opens(1)
    claim = _claim(far)
    for beat in range(1, 4):
        now[0] += 2.9
        assert here.take_over() == 0
        assert far.write(claim.trial, {"owner": far.worker.beat(beat)})
    assert here.take_over() == 0
    now[0] += 2.9
    assert here.take_over() == 0
    now[0] += 0.2
    assert here.take_over() == 1
    assert _claim(here).previous == claim.number


def test_of_two_in_one_place_the_first_counts_and_a_missing_one_is_made(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: now[0])
    one, two = opens(1), opens(1)
    claim = _claim(one)
    before = one.study.get_trials()
    assert one._end(claim.number)  # and dies here
    assert not two.is_over()
    assert two.take_over() == 0  # somebody else may be about to
    now[0] += 1.5
    assert two.take_over() == 1
    late = [one.study.get_trials()[0], *before[1:]]
    assert one._retry(late, claim.number)  # a worker that has looked before
    assert [trial.number for trial in two.study.get_trials()] == [0, 1, 2]
    retry = _claim(two)
    assert retry.number == 1
    assert one.claim() is None
    assert (one.counts().surplus, one.counts().running) == (1, 1)
    assert two.complete(retry, [0.5, 1.0], {})
    assert two.is_over()


def test_a_trial_that_kills_everybody_ends_and_one_that_is_given_back_does_not(opens: Opens) -> None:
    deadly = opens(1, name="deadly", pid=2**22 + 1)  # beyond the largest process number
    alive = opens(1, name="deadly")
    for attempt in range(MAX_ATTEMPTS):
        _claim(deadly)
        assert alive.take_over() == (attempt + 1 < MAX_ATTEMPTS)
    assert alive.claim() is None
    assert alive.is_over()
    assert alive.audit().lost == (0,)
    patient = opens(1, name="patient")
    for _ in range(MAX_ATTEMPTS + 1):
        assert patient.give_back(_claim(patient))
    claim = _claim(patient)
    assert patient.fail(claim, "the loss is not finite")
    assert patient.is_over()
    assert patient.counts().failed == 1
    assert patient.audit().failed == (0,)


def test_a_worker_beats_and_learns_that_it_has_lost_its_trial(opens: Opens) -> None:
    one, two = opens(1, beat_s=0.05), opens(1)
    claim = _claim(one)
    with Pulse(one, claim) as pulse:
        for _ in range(200):
            if two.study.get_trials()[0].user_attrs["owner"]["beat"] >= 2:
                break
            assert not pulse.lost.wait(0.05)
        assert two._end(claim.number)
        assert pulse.lost.wait(10)


def test_a_study_is_joined_only_with_what_it_was_begun_with(opens: Opens, tmp_path: Path) -> None:
    found = opens().study
    with pytest.raises(ConfigError, match="was begun with other about, rungs"):
        join_study(found._storage, found.study_name, METRICS, {"about": 2, "rungs": [1]}, sampler=found.sampler)


def test_places_that_are_no_good_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SQLite"):
        open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(TrainError, match="cannot open postgresql\\+psycopg9://somebody@nowhere/study"):
        open_storage("postgresql+psycopg9://somebody:secret@nowhere/study")
    with pytest.raises(ConfigError, match='no sampler "nsga"'):
        make_sampler("nsga", 0, 10)
    journal = tmp_path / "journal.log"
    open_storage(journal)
    journal.write_text("no JSON\n{}\n")
    with pytest.raises(TrainError, match="is damaged"):
        open_storage(journal)


def test_a_line_torn_by_a_power_failure_is_cut_off(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    join_study(open_storage(journal), "study", METRICS, {"about": 1}, sampler=make_sampler("random", 0, 4))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "worker')
    study = join_study(open_storage(journal), "study", METRICS, {"about": 1}, sampler=make_sampler("random", 0, 4))
    study.add_trial(study.ask(SPACE.distributions()).study.get_trials()[0])
    assert len(study.get_trials()) == 2
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_lock_left_by_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.touch()
    program = (
        "import os, sys; from pathlib import Path; from nanou_train.search.journal_lock import JournalLock;"
        "JournalLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(journal)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert killed.returncode == -9
    lock, file = JournalLock(journal), tmp_path / "journal.log.lock"
    assert file.exists()
    assert lock.acquire()
    held = json.loads(file.read_text())
    assert held["pid"] == os.getpid()
    file.write_text(json.dumps({**held, "ticket": "another's"}))
    lock.release()
    assert file.exists()  # it was not ours any more


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "postgres"])
def test_two_workers_of_which_one_is_killed_complete_every_trial_once(
    storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = "" if storage == "journal" else request.getfixturevalue("postgres")
    options = {"trials": 12, "storage": place, "work_ms": 50}
    assert drill(options, tmp_path / f"drill-{tmp_path.name}", workers=2, kills=1, seed=1)
