"""A search with invented costs and scores: limits, rungs, twins, failures, interruption, and the front."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nanou_train.errors import ConfigError, DataError, TrainError
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search.attempts import counts_of, is_over
from nanou_train.search.halving import dominates
from nanou_train.search.search import Job, SearchSettings, open_search, run_search
from nanou_train.search.search_result import SearchResult, result_of, select
from nanou_train.search.space import Space
from tests.train.search_drill import settings_of, tally

PARENT = Structure("nano_u", (48, 64, 3), (Level((Block(8),) * 2, (2, 2), (Block(8),) * 2),) * 2, (Block(16),) * 2)


@pytest.fixture(autouse=True)
def _optuna(require_module: Callable[[str], None]) -> None:
    require_module("optuna")


@dataclass
class Invented:
    """Wider is better and dearer. `wrong` maps a trial's number to what its evaluation raises, once.

    `stopped` has the scores of those that did not go on from a rung.
    """

    wrong: dict[int, BaseException] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    priced: int = 0

    def cost(self, structure: Structure) -> Mapping[str, float]:
        self.priced += 1
        return self._cost(structure)

    def _cost(self, structure: Structure) -> Mapping[str, float]:
        widths = sum(block.width for level in structure.levels for block in (*level.encoder, *level.decoder))
        return {"instructions": 100.0 * widths, "ram_bytes": 10.0 * structure.input_shape[1]}

    def evaluate(self, job: Job) -> float:
        self.jobs.append(job)
        score = 0.0
        for rung, epochs in enumerate(job.rungs):
            score = 1.0 - 1.0 / (1 + self._cost(job.structure)["instructions"] * epochs / 1000)
            if error := self.wrong.pop(int(job.folder.name), None):
                raise error
            if not job.reached(rung, score):
                self.stopped += [score] if rung + 1 < len(job.rungs) else []
                break
        return score


def _settings(folder: Path, **changes: object) -> SearchSettings:
    settings = SearchSettings(
        "test",
        folder,
        Space(PARENT),
        trials=10,
        minimize=("instructions", "ram_bytes"),
        rungs=(1, 2),
        eta=2,
        heartbeat_s=5,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def _found(settings: SearchSettings) -> SearchResult:
    return result_of(open_search(settings), settings.trials, settings.minimize)


def test_candidates_beyond_a_limit_are_not_trained(tmp_path: Path) -> None:
    settings, evaluator = _settings(tmp_path, limits={"instructions": 2000.0, "ram_bytes": 700.0}), Invented()
    found = run_search(settings, evaluator)
    assert found.counts.complete == 10
    beyond = [one for one in found.candidates if not one.feasible]
    assert beyond
    assert found.candidates[0] in beyond  # the parent itself: 64 channels
    for one in found.candidates:
        assert one.feasible == (one.costs["instructions"] <= 2000 and one.costs["ram_bytes"] <= 700)
        assert (one.rung, one.miou) == (-1, 0.0) if not one.feasible else one.rung >= 0
    assert {one.key for one in beyond}.isdisjoint(job.key for job in evaluator.jobs)
    assert all(one.feasible for one in found.front)


def test_the_front_is_of_those_that_came_furthest_and_none_beats_another(tmp_path: Path) -> None:
    settings = _settings(tmp_path, trials=16)
    found = run_search(settings, Invented())

    def vector(one: object) -> tuple[float, ...]:
        return (-one.miou, *(one.costs[name] for name in settings.minimize))  # type: ignore[attr-defined]

    assert found.front
    top = [one for one in found.candidates if one.rung == 1]
    assert 0 < len(top) < len(found.candidates)  # some were stopped at the first rung
    for one in found.front:
        assert one.rung == 1
        assert not any(dominates(vector(other), vector(one)) for other in top)
    costs = [one.costs["instructions"] for one in found.front]
    assert costs == sorted(costs)
    chosen = select(found, settings.minimize, 2)
    assert [one in found.front for one in chosen] == [True, True]
    assert {costs[0], costs[-1]} == {one.costs["instructions"] for one in chosen}  # both ends
    assert select(found, settings.minimize, 0) == ()


def test_the_same_network_is_trained_once(tmp_path: Path) -> None:
    space = Space(PARENT, vary=("skip", "size"), sizes=((48, 64),))  # four networks
    settings, evaluator = _settings(tmp_path, space=space, sampler="random"), Invented()
    found = run_search(settings, evaluator)
    assert len(found.candidates) == 10
    assert len(evaluator.jobs) == len({job.key for job in evaluator.jobs}) <= 4
    assert len({(one.key, one.miou, one.rung) for one in found.candidates}) == len(evaluator.jobs)


def test_a_candidate_that_fails_is_left_behind_and_data_that_are_wrong_are_not(tmp_path: Path) -> None:
    evaluator = Invented({1: TrainError("the loss is not finite"), 4: DataError("no folder", hint="give one")})
    settings = _settings(tmp_path)
    with pytest.raises(DataError):
        run_search(settings, evaluator)
    before = _found(settings).counts
    assert (before.failed, before.waiting > 0) == (1, True)
    found = run_search(settings, evaluator)  # the same command goes on
    assert (found.counts.complete, found.counts.failed) == (9, 1)
    tried = [job.folder.name for job in evaluator.jobs]
    assert sorted(name for name in tried if tried.count(name) > 1) == ["00004", "00004"]  # once more, with its data


def test_an_interrupted_trial_goes_back_and_its_next_attempt_goes_on_with_it(tmp_path: Path) -> None:
    settings, evaluator = _settings(tmp_path, trials=4), Invented({2: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run_search(settings, evaluator)
    found = run_search(settings, evaluator)
    assert found.counts.complete == 4
    assert found.counts.retries == 1
    first, again = (job for job in evaluator.jobs if job.folder == tmp_path / "trials" / "00002")
    assert first.key == again.key
    assert sorted(one.number for one in found.candidates) == [0, 1, 2, 3]
    assert evaluator.priced == len(found.candidates)  # its cost was known


def test_a_trial_that_was_stopped_at_a_rung_is_not_taken_up_there_again(tmp_path: Path) -> None:
    """Its worker dies after the decision, and before the trial has ended."""
    settings, evaluator = _settings(tmp_path, trials=4), Invented()
    decided = evaluator.evaluate

    def die(job: Job) -> float:
        score = decided(job)
        if len(job.rungs) == 2 and evaluator.stopped and not evaluator.wrong:
            evaluator.wrong[-1] = KeyboardInterrupt()
            raise KeyboardInterrupt
        return score

    evaluator.evaluate = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_search(settings, evaluator)
    jobs = len(evaluator.jobs)
    found = run_search(settings, evaluator)
    stopped = evaluator.jobs[jobs - 1]
    assert stopped.folder not in [job.folder for job in evaluator.jobs[jobs:]]
    (result,) = (one for one in found.candidates if one.key == stopped.key)
    assert (result.rung, result.miou) == (0, evaluator.stopped[0])


def test_a_bug_counts_against_the_trial_and_is_shown(tmp_path: Path) -> None:
    settings, evaluator = _settings(tmp_path, trials=2), Invented({0: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        run_search(settings, evaluator)
    waiting = [trial for trial in open_search(settings).get_trials() if trial.state.name == "WAITING"]
    assert [trial.user_attrs.get("worker_failures") for trial in waiting] == [None, 1]


def test_a_disk_that_is_full_when_a_trial_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna asserts on its way out, which would be all that is seen."""

    def tell(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = _settings(tmp_path, trials=2)
    monkeypatch.setattr("optuna.study._optimize._tell_with_warning", tell)
    with pytest.raises(OSError, match="No space left"):
        run_search(settings, Invented())
    monkeypatch.undo()
    run_search(settings, Invented())


def test_other_settings_are_another_search(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    open_search(settings)
    open_search(replace(settings, trials=20, seed=1, sampler="tpe", heartbeat_s=1))
    for what, changes in (
        ("rungs", {"rungs": (1, 3)}),
        ("limits", {"limits": {"ram_bytes": 1.0}}),
        ("data", {"facts": {"data": "another"}}),
        ("space", {"space": Space(PARENT, vary=("width",))}),
    ):
        with pytest.raises(ConfigError, match=f"was begun with other {what}$"):
            open_search(replace(settings, **changes))  # type: ignore[arg-type]
    for wrong in ({"rungs": (2, 2)}, {"rungs": ()}, {"eta": 1}, {"minimize": ()}, {"sampler": "best"}):
        with pytest.raises(ConfigError):
            _settings(tmp_path, **wrong)
    with pytest.raises(ConfigError, match="nothing to vary"):
        _settings(tmp_path, space=Space(PARENT, vary=()))


@pytest.mark.slow
def test_workers_that_are_asked_to_end_give_their_trials_back(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from nanou_train.search.search import run_search\n"
        "from tests.train.search_drill import Synthetic, settings_of\n"
        "class Waiting(Synthetic):\n"
        "    def _compute(self, work_ms):\n"
        "        time.sleep(work_ms / 1000)\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    settings = settings_of({'trials': 8, 'storage': ''}, folder)\n"
        "    run_search(settings, Waiting(folder / 'evaluations.log', 1000.0), workers=2)\n"
    )
    script, folder = tmp_path / "program.py", tmp_path / "study"
    script.write_text(program)
    folder.mkdir()
    command, environment = [sys.executable, str(script), str(folder)], os.environ | {"PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    study = open_search(settings_of({"trials": 8, "storage": ""}, folder))
    while counts_of(study.get_trials(), 8).running < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) != 0
    counts = counts_of(study.get_trials(), 8)
    assert (counts.running, counts.retries) == (0, 2)
    assert subprocess.run(command, env=environment).returncode == 0
    assert is_over(study.get_trials(), 8)
    assert len(tally(study, 8).once) == 8
