"""Reads from a study what a search has found: results of trials, the Pareto front, and which of it to train longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanou_train.networks.structure import Structure
from nanou_train.search.attempts import Counts, counted_roots, counts_of, root_of
from nanou_train.search.halving import best_first, fronts

if TYPE_CHECKING:
    import optuna

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TrialResult:
    """What a complete trial has found; `number` is that of its first attempt.

    `rung` counts from 0; `feasible` where it meets all limits as predicted; `same_as` is the trial that has trained the
    same network.
    """

    number: int
    key: str
    structure: Structure
    miou: float
    costs: Mapping[str, float]
    rung: int
    feasible: bool
    same_as: int | None


@dataclass(frozen=True)
class SearchResult:
    """Results of all complete trials by number, and of them the Pareto front, cheapest first."""

    counts: Counts
    candidates: tuple[TrialResult, ...]
    front: tuple[TrialResult, ...]


def result_of(study: optuna.Study, total: int, minimize: Sequence[str]) -> SearchResult:
    """Collect what has been found so far.

    The front is over mIoU and all of `minimize`, of the feasible candidates that reached the last rung that any did:
    mIoU after fewer epochs does not compare.
    """
    trials = study.get_trials(deepcopy=False)
    roots = set(counted_roots(trials, total))
    complete = (one for one in trials if one.state.name == "COMPLETE" and root_of(one) in roots)
    found = tuple(sorted(map(_result, complete), key=lambda one: one.number))
    trained = [one for one in found if one.feasible and one.rung >= 0 and one.same_as is None]
    different = list({one.key: one for one in reversed(trained)}.values())
    top = [one for one in different if one.rung == max(other.rung for other in different)]
    number = fronts([(-one.miou, *(one.costs[name] for name in minimize)) for one in top])
    front = [one for one, front in zip(top, number, strict=True) if front == 0]
    by_cost = tuple(sorted(front, key=lambda one: one.costs[minimize[0]]))
    return SearchResult(counts_of(trials, total), found, by_cost)


def select(result: SearchResult, minimize: Sequence[str], count: int) -> tuple[TrialResult, ...]:
    """At most `count` of the front to train longer, cheapest first.

    They are the best by mIoU against the first cost, spread over the front; the next front follows where it is short.
    """
    front = result.front
    order = best_first([(-one.miou, one.costs[minimize[0]]) for one in front])
    return tuple(sorted((front[index] for index in order[:count]), key=lambda one: one.costs[minimize[0]]))


def _result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    attributes = trial.user_attrs
    return TrialResult(
        root_of(trial),
        attributes["key"],
        Structure.from_json(attributes["structure"]),
        float(attributes["miou"]),
        attributes["costs"],
        int(attributes["rung"]),
        all(value <= 0 for value in trial.constraints.values()),
        attributes.get("same_as"),
    )


class Report:
    """Progress of a whole study, told by one of those that look on."""

    def __init__(self, study: optuna.Study, total: int, minimize: Sequence[str], progress: Progress | None) -> None:
        self._study, self._total, self._minimize, self._progress = study, total, minimize, progress
        self._told = ""

    def __call__(self) -> None:
        """Tell, if there is anything new."""
        if self._progress is None:
            return
        message, done = self._line()
        if message.partition(",")[0] != self._told.partition(",")[0]:
            self._told = message
            self._progress(message, done)

    def _line(self) -> tuple[str, float]:
        result = result_of(self._study, self._total, self._minimize)
        counts = result.counts
        done = counts.complete + counts.failed
        trained = sum(one.rung >= 0 for one in result.candidates)
        message = f"{done}/{counts.total} trials, {trained} trained, {counts.failed} failed, {counts.running} running"
        if result.front:
            best = max(result.front, key=lambda one: one.miou)
            message += f"; front of {len(result.front)}, best mIoU {best.miou:.3f}"
        return message, min(1.0, done / counts.total)
