"""Which trials count, which are attempted again, and when a study is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nanou_train.search.attempts import (
    MAX_WORKER_FAILURES,
    counted_roots,
    counts_of,
    is_over,
    is_some_left,
    is_surplus,
    lost,
    retry,
    root_of,
)

if TYPE_CHECKING:
    import optuna

pytestmark = pytest.mark.filterwarnings("ignore:.* is experimental")


@pytest.fixture(autouse=True)
def _optuna(require_module: Callable[[str], None]) -> None:
    require_module("optuna")


def _trials(*stated: str) -> list[optuna.trial.FrozenTrial]:
    """Trials by number from lines of STATE, or STATE of ROOT."""
    import optuna

    found = []
    for number, (name, *root) in enumerate(line.split(" of ") for line in stated):
        attributes: dict[str, Any] = {}
        if root:
            attributes = {"failed_trial": int(root[0]), "retry_history": [int(root[0])]}
        user = {"error": "no"} if name == "ERROR" else {}
        state = optuna.trial.TrialState["FAIL" if name == "ERROR" else name]
        found.append(
            optuna.trial.FrozenTrial(
                number=number, trial_id=number, state=state, value=0.0 if name == "COMPLETE" else None, params={},
                distributions={}, user_attrs=user, system_attrs=attributes, intermediate_values={},
                datetime_start=None, datetime_complete=None,
            )
        )  # fmt: skip
    return found


def test_trials_beyond_those_asked_for_are_surplus() -> None:
    trials = _trials("COMPLETE", "RUNNING", "RUNNING")
    assert [is_surplus(trials, number, 2) for number in range(3)] == [False, False, True]
    assert counts_of(trials, 2).surplus == 1
    pruned = _trials("COMPLETE", "COMPLETE", "PRUNED", "RUNNING")
    assert is_over(pruned[:3], 2)
    assert counted_roots(pruned, 3) == [0, 1, 3]  # a later command asks for one more
    assert not is_surplus(pruned, 3, 3)


@pytest.mark.parametrize(
    ("earlier", "surplus"),
    [("WAITING", True), ("RUNNING", True), ("COMPLETE", True), ("ERROR", True), ("FAIL", False), ("PRUNED", False)],
)
def test_of_two_attempts_in_one_place_one_goes_on(earlier: str, surplus: bool) -> None:
    trials = _trials("FAIL", f"{earlier} of 0", "RUNNING of 0")
    assert is_surplus(trials, 2, 1) is surplus


@pytest.mark.parametrize(
    ("stated", "over", "left", "missing"),
    [
        (["COMPLETE", "COMPLETE"], True, False, []),
        (["COMPLETE"], False, True, []),  # one has not been asked for
        (["COMPLETE", "ERROR"], True, False, []),
        (["COMPLETE", "RUNNING"], False, False, []),
        (["COMPLETE", "WAITING"], False, True, []),
        (["COMPLETE", "FAIL"], False, False, [1]),  # its worker died before it put it back
        (["COMPLETE", "FAIL", "RUNNING of 1"], False, False, []),
        (["COMPLETE", "FAIL", "FAIL of 1"], False, False, [2]),
        (["COMPLETE", "FAIL", "COMPLETE of 1", "PRUNED of 1"], True, False, []),
        (["COMPLETE", "COMPLETE", "RUNNING"], True, False, []),  # somebody's surplus
    ],
)
def test_a_study_is_over_when_every_trial_that_counts_is_settled(
    stated: list[str], over: bool, left: bool, missing: list[int]
) -> None:
    trials = _trials(*stated)
    assert (is_over(trials, 2), is_some_left(trials, 2)) == (over, left)
    assert [one.number for one in lost(trials, 2)] == missing


def test_a_trial_that_takes_down_every_worker_is_left_alone_and_one_that_is_given_back_is_not() -> None:
    import optuna

    study = optuna.create_study(directions=["maximize", "minimize"])

    def fail(*, blameless: bool) -> None:
        trial = study.ask()
        assert trial.user_attrs.get("rung_0") == (None if trial.number == 0 else 0.5)
        trial.set_user_attr("rung_0", 0.5)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        retry(study, study.get_trials()[trial.number], blameless=blameless)
        assert {root_of(one) for one in study.get_trials()} == {0}

    for _ in range(MAX_WORKER_FAILURES):
        fail(blameless=True)
        assert is_some_left(study.get_trials(), 1)
    for _ in range(MAX_WORKER_FAILURES):
        assert not is_over(study.get_trials(), 1)
        fail(blameless=False)
    assert is_over(study.get_trials(), 1)
    assert lost(study.get_trials(), 1) == []
    counts = counts_of(study.get_trials(), 1)
    assert (counts.complete, counts.failed, counts.waiting) == (0, 0, 0)
    assert counts.retries == 2 * MAX_WORKER_FAILURES - 1
