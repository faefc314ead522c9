"""Searches for small networks that still see: one study, any number of workers, several objectives, limits.

A worker takes a trial, asks what its network costs, and ends it there if that is more than the limits allow. Otherwise
the network is trained in rungs; after each the trial goes on only if it is among the best of those that have come as
far (nanou_train.search.halving). What costs and training are is up to the `Evaluator` that is passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import Sampler
from nanou_train.networks.structure import Structure
from nanou_train.runs.interrupts import sigterm_interrupts
from nanou_train.search.attempts import root_of
from nanou_train.search.halving import goes_on
from nanou_train.search.optimize import optimize
from nanou_train.search.processes import work_in_processes
from nanou_train.search.search_result import Progress, Report, SearchResult, result_of
from nanou_train.search.space import Space, space_identity, structure_key
from nanou_train.search.storage import open_storage
from nanou_train.search.study import SAMPLERS, join_study, make_sampler, population_size

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"


@dataclass(frozen=True)
class SearchSettings:
    """What is searched and how; all but `trials`, `sampler`, `seed` and `heartbeat_s` must be the same for all workers.

    `output` is the search's folder, on a file system that all workers share; `storage` a journal file or a URL, empty
    for OUTPUT/journal.log. `limits` are the most that a candidate may cost, by the name of the cost; `minimize` names
    the costs that are objectives beside mIoU, the first of which also decides about rungs. `rungs` are epochs, counted
    from the start. `facts` are further things that workers must have in common: the data, the parent's weights.
    """

    name: str
    output: Path
    space: Space
    trials: int
    storage: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    minimize: tuple[str, ...] = ("instructions", "ram_bytes", "flash_bytes")
    rungs: tuple[int, ...] = (2, 6, 18)
    eta: int = 3
    sampler: Sampler = "nsga2"
    seed: int = 0
    heartbeat_s: int = 10
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ConfigError(f"rungs {self.rungs} do not rise from 1 epoch or more", hint="use for example 2,6,18")
        if self.eta < 2 or self.trials < 1 or not self.minimize or self.heartbeat_s < 1:
            raise ConfigError(
                f"eta {self.eta}, {self.trials} trials, {len(self.minimize)} costs, heartbeat of {self.heartbeat_s} s",
                hint="eta is 2 or more, the others are positive",
            )
        if self.sampler not in SAMPLERS:
            raise ConfigError(f'no sampler "{self.sampler}"', hint=f"known: {', '.join(SAMPLERS)}")
        if not self.space.parameters():
            raise ConfigError("there is nothing to vary about this network", hint="vary more dimensions")

    @property
    def place(self) -> str:
        return self.storage or str(self.output / JOURNAL)


@dataclass(frozen=True, eq=False)
class Job:
    """One evaluation. The candidate may keep what it goes on from in `folder`, which all attempts at a trial share.

    `reached(rung, miou)` is called after each rung, from 0, and says whether to go on. It raises where this worker no
    longer has the trial.
    """

    structure: Structure
    key: str
    folder: Path
    rungs: tuple[int, ...]
    reached: Callable[[int, float], bool]


class Evaluator(Protocol):
    """What candidates cost and how well they see. Picklable, as each worker process gets a copy.

    Both methods raise TrainError where a candidate cannot be had; what else they raise ends the search (`optimize`).
    """

    def cost(self, structure: Structure) -> Mapping[str, float]:
        """Costs by name, without training."""
        ...

    def evaluate(self, job: Job) -> float:
        """Return validation mIoU, 0..1, after the last rung that the candidate reached."""
        ...


def open_search(settings: SearchSettings) -> optuna.Study:
    """Begin the search, or join it. Raises ConfigError where it was begun with other settings."""
    seeds = settings.space.seeds(min(settings.trials, population_size(settings.trials)), settings.seed)
    return join_study(
        open_storage(settings.place, settings.heartbeat_s),
        settings.name,
        {"miou": "maximize", **dict.fromkeys(settings.minimize, "minimize")},
        {
            "space": space_identity(settings.space),
            "limits": dict(settings.limits),
            "minimize": list(settings.minimize),
            "rungs": list(settings.rungs),
            "eta": settings.eta,
            **settings.facts,
        },
        sampler=make_sampler(settings.sampler, settings.seed, settings.trials),
        seeds=seeds[:1] if settings.sampler == "random" else seeds,
    )


def run_search(
    settings: SearchSettings, evaluator: Evaluator, *, workers: int = 1, progress: Progress | None = None
) -> SearchResult:
    """Search until every trial of the study has ended, here or elsewhere. Interrupted, the same call goes on.

    Raises as `optimize`, with one worker, and as `work_in_processes` with several.
    """
    study = open_search(settings)
    report = Report(study, settings.trials, settings.minimize, progress)
    with sigterm_interrupts():
        if workers == 1:
            _work(settings, evaluator, study, report)
        else:
            work = partial(_work, settings, evaluator)
            work_in_processes(work, study, settings.trials, workers=workers, report=report)
    return result_of(study, settings.trials, settings.minimize)


def _work(
    settings: SearchSettings,
    evaluator: Evaluator,
    study: optuna.Study | None = None,  # a process of its own opens its own
    report: Callable[[], None] = lambda: None,
) -> None:
    objective = partial(evaluate, settings, evaluator)
    optimize(study or open_search(settings), settings.trials, objective, report=report)


def evaluate(settings: SearchSettings, evaluator: Evaluator, trial: optuna.Trial) -> tuple[float, ...]:
    """Find one trial's mIoU and the costs to minimize, taking over what earlier attempts have found."""
    started, structure = time.monotonic(), settings.space.structure(settings.space.suggest(trial))
    key = structure_key(structure)
    costs = trial.user_attrs.get("costs") or dict(evaluator.cost(structure))
    _note(trial, key=key, costs=costs, structure=structure.to_json())
    over = {name: costs[name] / most - 1.0 for name, most in settings.limits.items()}
    for name, value in over.items():
        trial.set_constraint(name, value)
    miou, rung = 0.0, -1
    if all(value <= 0 for value in over.values()):
        twin = _twin(trial.study, key)
        if twin is not None:
            miou, rung = float(twin.values[0]), int(twin.user_attrs["rung"])
            _note(trial, same_as=root_of(twin))
        elif "stopped" in trial.user_attrs:
            rung = trial.user_attrs["rung"]
            miou = trial.user_attrs[f"rung_{rung}"]
        else:
            place = settings.output / "trials" / f"{root_of(_stored(trial)):05d}"
            job = Job(structure, key, place, settings.rungs, partial(_reached, settings, trial))
            miou = evaluator.evaluate(job)
            rung = trial.user_attrs["rung"]
    _note(trial, miou=miou, rung=rung, seconds=round(time.monotonic() - started, 2))
    return miou, *(float(costs[name]) for name in settings.minimize)


def _reached(settings: SearchSettings, trial: optuna.Trial, rung: int, miou: float) -> bool:
    """Note the mIoU of a rung; whether the trial is among the best of those that have come as far."""
    _note(trial, rung=rung, **{f"rung_{rung}": miou})
    if rung + 1 >= len(settings.rungs):
        return False
    axis, root, others = settings.minimize[0], root_of(_stored(trial)), {}
    for other in trial.study.get_trials(deepcopy=False):
        if root_of(other) != root and f"rung_{rung}" in other.user_attrs:
            others[root_of(other)] = (-other.user_attrs[f"rung_{rung}"], other.user_attrs["costs"][axis])
    if goes_on(list(others.values()), (-miou, trial.user_attrs["costs"][axis]), settings.eta):
        return True
    _note(trial, stopped=True)  # a later attempt must not go on from here
    return False


def _twin(study: optuna.Study, key: str) -> optuna.trial.FrozenTrial | None:
    """Return the complete trial that has trained the same network: another choice of values can mean the same."""
    for trial in study.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        is_same = trial.state.name == "COMPLETE" and attributes["key"] == key
        if is_same and attributes["rung"] >= 0 and "same_as" not in attributes:
            return trial
    return None


def _stored(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _note(trial: optuna.Trial, **attributes: Any) -> None:
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
