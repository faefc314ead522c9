"""Tells which trials of a study count, which were attempted again, and whether all have ended.

Optuna puts a trial whose worker has died back in the queue as a new trial, an *attempt* at the same one, whose *root*
is the number of the first. Workers may ask for a trial too many at the same moment, and may die between ending a trial
and putting it back. So each worker computes from the stored trials alone, and all compute the same:

- The first `total` roots count. A trial of a later root is *surplus*, and pruned before it is evaluated.
- Of a root's attempts only one goes on: one that finds an earlier one unfinished or complete is surplus too.
- A root is *settled* when an attempt has completed, has failed by its own fault, or has taken down too many workers.
- A root that is not settled and has no attempt under way is *lost*: whoever waits for it puts it back once more.

As a storage lets one worker alone end a trial, each root that counts is completed once at most, and the study is over
when all are settled.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    Trials = Sequence[optuna.trial.FrozenTrial]

ERROR = "error"  # user attribute: why a trial would fail again
WORKER_FAILURES = "worker_failures"  # user attribute: workers that earlier attempts have taken down
MAX_WORKER_FAILURES = 4


@dataclass(frozen=True)
class Counts:
    """Trials of a study by what became of them; `retries` are further attempts, `surplus` does not count."""

    total: int
    complete: int
    failed: int
    running: int
    waiting: int
    retries: int
    surplus: int


def root_of(trial: optuna.trial.FrozenTrial) -> int:
    """Find the number of the first attempt at this trial."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else number


def counted_roots(trials: Trials, total: int) -> list[int]:
    """Return the first `total` roots, without those that were pruned as surplus when less was asked for."""
    return [one.number for one in trials if root_of(one) == one.number and one.state.name != "PRUNED"][:total]


def is_surplus(trials: Trials, number: int, total: int) -> bool:
    """Whether a trial that has been taken must not be evaluated."""
    root = root_of(trials[number])
    if root not in counted_roots(trials, total):
        return True
    return any(root_of(one) == root and not _went_wrong(one) for one in trials[:number])


def is_some_left(trials: Trials, total: int) -> bool:
    """Whether there is a trial to be taken now."""
    return len(counted_roots(trials, total)) < total or any(one.state.name == "WAITING" for one in trials)


def is_over(trials: Trials, total: int) -> bool:
    """Whether all trials that count have ended, and none has to be attempted again."""
    return len(counted_roots(trials, total)) == total and not _unsettled(trials, total)


def lost(trials: Trials, total: int) -> list[optuna.trial.FrozenTrial]:
    """Return the last attempts at roots that are neither settled nor under way."""
    return [one for one in _unsettled(trials, total) if one.state.name == "FAIL"]


def _unsettled(trials: Trials, total: int) -> list[optuna.trial.FrozenTrial]:
    """For each root that counts and is not settled the attempt under way, or else the last one."""
    counted = set(counted_roots(trials, total))
    found: dict[int, optuna.trial.FrozenTrial] = {}
    for trial in trials:
        root = root_of(trial)
        if root in counted and trial.state.name != "PRUNED" and (root not in found or _went_wrong(found[root])):
            found[root] = trial
    return [one for one in found.values() if not _is_settled(one)]


def _went_wrong(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether this attempt has ended so that another may take its place."""
    return trial.state.name == "PRUNED" or (trial.state.name == "FAIL" and ERROR not in trial.user_attrs)


def _is_settled(trial: optuna.trial.FrozenTrial) -> bool:
    if _went_wrong(trial):
        return int(trial.user_attrs.get(WORKER_FAILURES, 0)) + 1 >= MAX_WORKER_FAILURES
    return trial.state.name in ("COMPLETE", "FAIL")


def counts_of(trials: Trials, total: int) -> Counts:
    """How far a study is."""
    roots = set(counted_roots(trials, total))
    chosen = [one for one in trials if root_of(one) in roots and one.state.name != "PRUNED"]
    states = [one.state.name for one in chosen]
    return Counts(
        total,
        states.count("COMPLETE"),
        sum(ERROR in one.user_attrs for one in chosen),
        states.count("RUNNING"),
        states.count("WAITING"),
        sum(root_of(one) != one.number for one in chosen),
        len(trials) - len(chosen),
    )


def retry(study: optuna.Study, trial: optuna.trial.FrozenTrial, *, blameless: bool = False) -> None:
    """Put a failed trial back in the queue, with all that it has reached, unless it has taken down too many workers.

    A `blameless` one was given back by its worker. As RDBStorage's `heartbeat_stale_trial_callback`, it is called by
    the one worker that has ended the trial.
    """
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    failures = trial.user_attrs.get(WORKER_FAILURES, 0) + (not blameless)
    if failures < MAX_WORKER_FAILURES:
        again = copy.deepcopy(trial)
        again.set_user_attr(WORKER_FAILURES, failures)
        RetryHeartbeatStaleTrialCallback()(study, again)
