"""Which worker has which trial: claimed once, taken over from the dead, finished once. Works on any Optuna storage.

What it relies on: a storage numbers trials one after the other, and of several attempts to end a running trial exactly
one succeeds (a row lock in a database, the order of lines in a journal). The rest are rules that every worker
computes alike from trials as stored:

- A trial that was not made in place of another is *fresh*. The first `total` fresh trials count; a later one, which
  two workers can make at the same moment, is `surplus`, and ends before it is evaluated.
- Whoever works on a trial beats: its user attribute `owner` changes every few seconds. A worker that sees an owner
  unchanged for three of its beats, by its own clock, or sees that the process on its own machine is gone, ends the
  trial as failed and makes another with the same values in its place (`retry_of`), to be picked up by anybody. Should
  two be made for one, the first counts.
- A worker whose trial was taken from it notices when it beats or writes, and drops its result.

So each fresh trial that counts is completed once, whatever dies meanwhile, unless it takes down `MAX_ATTEMPTS` workers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanou_train.search.study import import_optuna
from nanou_train.search.worker import Worker

if TYPE_CHECKING:
    import optuna

    Trials = Sequence[optuna.trial.FrozenTrial]

MAX_ATTEMPTS = 4
MISSED_BEATS = 3
LOCAL = ("owner", "given_back")  # user attributes that a retry does not take over


@dataclass(frozen=True, eq=False)
class Claim:
    """A trial that this worker has. `root` is the number of the fresh trial that it stands for."""

    trial: optuna.Trial
    number: int
    root: int
    values: Mapping[str, Any]
    before: Mapping[str, Any]  # user attributes that earlier attempts have left
    previous: int | None  # the number of the attempt before


@dataclass(frozen=True)
class Counts:
    """Trials of a study that count, by what became of them; `retries` are attempts in place of others."""

    total: int
    complete: int
    failed: int
    running: int
    waiting: int
    retries: int
    surplus: int


@dataclass(frozen=True)
class Audit:
    """Numbers of fresh trials that count: completed once, more than once, never; and evaluations that were repeated."""

    once: tuple[int, ...]
    doubled: tuple[int, ...]
    lost: tuple[int, ...]
    failed: tuple[int, ...]


class Ledger:
    """One worker's view of a study. Thread-safe: one thread evaluates, another beats."""

    def __init__(
        self,
        study: optuna.Study,
        distributions: Mapping[str, optuna.distributions.BaseDistribution],
        total: int,
        worker: Worker,
    ) -> None:
        self.study, self.distributions, self.total, self.worker = study, dict(distributions), total, worker
        self._optuna = import_optuna()
        self._states = self._optuna.trial.TrialState
        self._lock = threading.Lock()
        self._seen: dict[int, tuple[Any, float]] = {}  # trial: its owner as last seen to change, and when
        self._orphans: dict[int, float] = {}  # failed trial without a retry: since when
        self._mine: int | None = None

    # ---- Taking and ending ---------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """The next trial for this worker; None where none is to be had now (`is_over` says whether ever again)."""
        while self._is_some_left():
            trial = self.study.ask(self.distributions)
            self._mine = trial.number
            if not self.write(trial, {"owner": self.worker.beat(0)}):
                continue  # asking took so long that others thought this worker dead
            trials = self._trials()
            if trial.number in counting(trials, self.total):
                attributes = trials[trial.number].user_attrs
                before = {key: value for key, value in attributes.items() if key not in LOCAL}
                root = int(attributes.get("root", trial.number))
                return Claim(trial, trial.number, root, trial.params, before, attributes.get("retry_of"))
            self.write(trial, {"surplus": True})
            self._end(trial.number)
        return None

    def write(self, trial: optuna.Trial, attributes: Mapping[str, Any]) -> bool:
        """Set user attributes; False where the trial is no longer this worker's."""
        try:
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True

    def complete(self, claim: Claim, values: Sequence[float], constraints: Mapping[str, float]) -> bool:
        """End a trial with its objectives; False where it had been taken over, and the result does not count."""
        try:
            for key, value in constraints.items():
                claim.trial.set_constraint(key, value)
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return False
        finally:
            self._mine = None
        return self._tell(claim.number, values=list(values))

    def fail(self, claim: Claim, error: str) -> bool:
        """End a trial whose evaluation went wrong, and would again."""
        self._mine = None
        return self.write(claim.trial, {"error": error}) and self._end(claim.number)

    def give_back(self, claim: Claim, *, blameless: bool = True) -> bool:
        """End a trial unfinished, and put another in its place for anybody to take up, unless it was tried too often.

        A `blameless` attempt does not count.
        """
        self._mine = None
        if not (self.write(claim.trial, {"given_back": blameless}) and self._end(claim.number)):
            return False
        return self._retry(self._trials(), claim.number)

    def _end(self, number: int) -> bool:
        """RUNNING to FAIL; False where somebody else has ended it."""
        return self._tell(number, state=self._states.FAIL)

    def _tell(self, number: int, **what: Any) -> bool:
        """End a running trial, if it still is one: of several workers that do, one gets True."""
        try:
            self.study.tell(number, **what)
        except self._optuna.exceptions.UpdateFinishedTrialError:
            return False
        except ValueError:  # what tell says where the trial had ended before it looked
            if not self._trials()[number].state.is_finished():
                raise
            return False
        return True

    # ---- The dead -----------------------------------------------------------------------------------------------

    def take_over(self) -> int:
        """End the trials of dead workers and put others in their place; how many."""
        with self._lock:
            trials, now, count = self._trials(), time.monotonic(), 0
            for trial in trials:
                is_candidate = trial.state == self._states.RUNNING and trial.number != self._mine
                if is_candidate and self._is_dead(trial, now) and self._end(trial.number):
                    count += self._retry(self._trials(), trial.number)
            # Whoever ended a trial may have died before it put another in its place.
            missing = orphans(self._trials(), self.total)
            self._orphans = {number: self._orphans.get(number, now) for number in missing}
            for number, since in list(self._orphans.items()):
                if now - since > self.worker.beat_s:
                    count += self._retry(self._trials(), number)
            return count

    def _is_dead(self, trial: optuna.trial.FrozenTrial, now: float) -> bool:
        owner = trial.user_attrs.get("owner", {})
        if owner and self.worker.knows_gone(owner):
            return True
        seen, since = self._seen.get(trial.number, (None, now))
        if seen != owner:
            self._seen[trial.number] = owner, now
            return False
        return now - since > MISSED_BEATS * float(owner.get("beat_s", self.worker.beat_s))

    def _retry(self, trials: Trials, number: int) -> bool:
        """Put another in the place of a failed trial, unless it needs none."""
        if number not in orphans(trials, self.total):
            return False
        trial = trials[number]
        attributes = {key: value for key, value in trial.user_attrs.items() if key not in LOCAL}
        attributes |= {
            "root": trial.user_attrs.get("root", number),
            "retry_of": number,
            "attempt": _next_attempt(trial),
        }
        self.study.add_trial(
            self._optuna.create_trial(
                state=self._states.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=attributes,
                system_attrs=trial.system_attrs,
            )
        )
        return True

    # ---- Looking ------------------------------------------------------------------------------------------------

    def is_over(self) -> bool:
        """True where all trials that count have ended and none has to be repeated."""
        trials = self._trials()
        chosen = [trials[number] for number in counting(trials, self.total)]
        return (
            sum(map(is_fresh, chosen)) >= self.total
            and all(trial.state.is_finished() for trial in chosen)
            and not orphans(trials, self.total)
        )

    def counts(self) -> Counts:
        trials = self._trials()
        chosen = [trials[number] for number in counting(trials, self.total)]
        states = [trial.state for trial in chosen]
        return Counts(
            self.total,
            states.count(self._states.COMPLETE),
            sum("error" in trial.user_attrs for trial in chosen if trial.state == self._states.FAIL),
            states.count(self._states.RUNNING),
            states.count(self._states.WAITING),
            sum(not is_fresh(trial) for trial in chosen),
            len(trials) - len(chosen),
        )

    def audit(self) -> Audit:
        """What became of each fresh trial that counts."""
        trials = self._trials()
        complete: dict[int, int] = {}
        failed: set[int] = set()
        for trial in trials:
            root = int(trial.user_attrs.get("root", trial.number))
            if trial.state == self._states.COMPLETE:
                complete[root] = complete.get(root, 0) + 1
            elif "error" in trial.user_attrs:
                failed.add(root)
        roots = [number for number in sorted(counting(trials, self.total)) if is_fresh(trials[number])]
        return Audit(
            tuple(root for root in roots if complete.get(root) == 1),
            tuple(root for root in roots if complete.get(root, 0) > 1),
            tuple(root for root in roots if root not in complete and root not in failed),
            tuple(sorted(failed)),
        )

    def rank(self, claim: Claim) -> int:
        """Which of the fresh trials that count a claim stands for, from 0: the same for every worker, for ever."""
        trials = self._trials()
        return sum(is_fresh(trials[number]) for number in counting(trials, self.total) if number < claim.root)

    def _trials(self) -> Trials:
        """All trials as stored, by number; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def _is_some_left(self) -> bool:
        trials = self._trials()
        waiting = any(trial.state == self._states.WAITING for trial in trials)
        return waiting or sum(map(is_fresh, trials)) < self.total


def is_fresh(trial: optuna.trial.FrozenTrial) -> bool:
    return "retry_of" not in trial.user_attrs and not trial.user_attrs.get("surplus")


def counting(trials: Trials, total: int) -> set[int]:
    """Numbers of the trials that count: the first `total` fresh ones, and the first in each failed one's place."""
    found: set[int] = set()
    fresh, replaced = 0, set()
    for trial in trials:
        if trial.user_attrs.get("surplus"):
            continue
        if is_fresh(trial):
            if fresh < total:
                found.add(trial.number)
            fresh += 1
        elif (of := trial.user_attrs["retry_of"]) not in replaced:
            replaced.add(of)
            found.add(trial.number)
    return found


def orphans(trials: Trials, total: int) -> set[int]:
    """Numbers of the trials that ended without a result, and in whose place nothing has been put yet."""
    replaced = {trial.user_attrs.get("retry_of") for trial in trials}
    return {
        number
        for number in counting(trials, total)
        if trials[number].state.name == "FAIL"
        and number not in replaced
        and "error" not in trials[number].user_attrs
        and _next_attempt(trials[number]) <= MAX_ATTEMPTS
    }


def _next_attempt(trial: optuna.trial.FrozenTrial) -> int:
    """A trial that was given back has cost no worker its life."""
    return int(trial.user_attrs.get("attempt", 1)) + (not trial.user_attrs.get("given_back", False))
