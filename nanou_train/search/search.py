"""A search for small networks that still see: one study, any number of workers, several objectives, limits.

A worker takes a trial, asks what its network costs, and ends it there if that is more than the limits allow. Otherwise
the network is trained in rungs; after each the trial goes on only if it is among the best of those that have come as
far (nanou_train.search.halving). What costs and training are is up to the `Evaluator` that is passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import Sampler
from nanou_train.networks.structure import Structure
from nanou_train.search.halving import goes_on
from nanou_train.search.ledger import Claim, Ledger
from nanou_train.search.search_result import Progress, Report
from nanou_train.search.serve import Check, Lost, Outcome, serve
from nanou_train.search.space import Space, space_identity, structure_key
from nanou_train.search.study import SAMPLERS, join_study, make_sampler, open_storage, population_size
from nanou_train.search.worker import Worker

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"


@dataclass(frozen=True)
class SearchSettings:
    """What is searched and how; all but `trials`, `sampler`, `seed` and `beat_s` must be the same for all workers.

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
    beat_s: float = 10.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ConfigError(f"rungs {self.rungs} do not rise from 1 epoch or more", hint="use for example 2,6,18")
        if self.eta < 2 or self.trials < 1 or not self.minimize or self.beat_s <= 0:
            raise ConfigError(
                f"eta {self.eta}, {self.trials} trials, {len(self.minimize)} costs, beats of {self.beat_s:g} s",
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
    """One evaluation. The candidate may keep what it goes on from in `folder`; `previous` is an earlier attempt's.

    `reached(rung, miou)` is called after each rung, from 0, and says whether to go on; `check()` now and then in
    between. Both raise where this worker no longer has the trial, or has to stop.
    """

    structure: Structure
    key: str
    folder: Path
    previous: Path | None
    rungs: tuple[int, ...]
    reached: Callable[[int, float], bool]
    check: Callable[[], None]


class Evaluator(Protocol):
    """What candidates cost and how well they see. Picklable, as each worker process gets a copy.

    Both methods raise TrainError where a candidate cannot be had; what else they raise ends the search (`serve`).
    """

    def cost(self, structure: Structure) -> Mapping[str, float]:
        """Costs by name, without training."""
        ...

    def evaluate(self, job: Job) -> float:
        """Validation mIoU, 0..1, after the last rung that the candidate reached."""
        ...


def open_search(settings: SearchSettings, worker: Worker) -> Ledger:
    """Begin the search, or join it. Raises ConfigError where it was begun with other settings."""
    storage = open_storage(settings.place)
    seeds = settings.space.seeds(min(settings.trials, population_size(settings.trials)), settings.seed)
    study = join_study(
        storage,
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
        # Workers with one seed would all propose the same.
        sampler=make_sampler(settings.sampler, settings.seed + int(worker.name, 16) % 2**31, settings.trials),
        seeds=seeds[:1] if settings.sampler == "random" else seeds,
    )
    return Ledger(study, settings.space.distributions(), settings.trials, worker)


def work(
    settings: SearchSettings,
    evaluator: Evaluator,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Take trials until none is left anywhere; how many this worker has ended. Raises as `serve`."""
    ledger = open_search(settings, Worker.here(settings.beat_s))

    def evaluate(claim: Claim, check: Check) -> Outcome:
        return _Trial(settings, ledger, claim, check).evaluate(evaluator)

    report = Report(ledger, settings.minimize, progress)
    return serve(ledger, evaluate, report=report, should_stop=should_stop)


class _Trial:
    """One claimed trial under evaluation."""

    def __init__(self, settings: SearchSettings, ledger: Ledger, claim: Claim, check: Check) -> None:
        self.settings, self.ledger, self.claim, self.check = settings, ledger, claim, check
        self.structure = settings.space.structure(claim.values)
        self.key = structure_key(self.structure)
        self.costs: Mapping[str, float] = {}
        rungs = range(len(settings.rungs))
        self.rung = max((rung for rung in rungs if f"rung_{rung}" in claim.before), default=-1)

    def evaluate(self, evaluator: Evaluator) -> Outcome:
        started = time.monotonic()
        self.costs = self.claim.before.get("costs") or dict(evaluator.cost(self.structure))
        self._write({"key": self.key, "costs": self.costs, "structure": self.structure.to_json()})
        constraints = {name: self.costs[name] / most - 1.0 for name, most in self.settings.limits.items()}
        miou = 0.0
        if all(value <= 0 for value in constraints.values()):
            twin = self._twin()
            if twin is not None:
                miou, self.rung = float(twin.values[0]), int(twin.user_attrs["rung"])
                self._write({"same_as": twin.number})
            else:
                miou = evaluator.evaluate(self._job())
        self._write({"miou": miou, "rung": self.rung, "seconds": round(time.monotonic() - started, 2)})
        return Outcome((miou, *(float(self.costs[name]) for name in self.settings.minimize)), constraints)

    def _job(self) -> Job:
        place, previous = self.settings.output / "trials", self.claim.previous
        return Job(
            self.structure,
            self.key,
            place / f"{self.claim.number:05d}",
            None if previous is None else place / f"{previous:05d}",
            self.settings.rungs,
            self._reached,
            self.check,
        )

    def _twin(self) -> optuna.trial.FrozenTrial | None:
        """A trial of the same network that was trained to its end: another choice of values can mean the same."""
        for trial in self.ledger.study.get_trials(deepcopy=False):
            attributes = trial.user_attrs
            if trial.state.name == "COMPLETE" and attributes.get("key") == self.key and attributes["rung"] >= 0:
                return trial
        return None

    def _reached(self, rung: int, miou: float) -> bool:
        self.check()
        self.rung = rung
        self._write({f"rung_{rung}": miou})
        axis, others = self.settings.minimize[0], {}
        for trial in self.ledger.study.get_trials(deepcopy=False):
            root, attributes = trial.user_attrs.get("root", trial.number), trial.user_attrs
            if root != self.claim.root and f"rung_{rung}" in attributes:
                others[root] = (-attributes[f"rung_{rung}"], attributes["costs"][axis])
        is_last = rung + 1 >= len(self.settings.rungs)
        return not is_last and goes_on(list(others.values()), (-miou, self.costs[axis]), self.settings.eta)

    def _write(self, attributes: Mapping[str, Any]) -> None:
        if not self.ledger.write(self.claim.trial, attributes):
            raise Lost
