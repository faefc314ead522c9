"""Makes a search's Optuna study, or joins the one that another worker has made, and chooses its sampler.

Everything is Optuna's own format, so its dashboard and its command line read a study as any other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import Sampler
from nanou_train.networks.architectures import near_names

if TYPE_CHECKING:
    import optuna

Direction = Literal["maximize", "minimize"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
FACTS = "search"  # the study's user attribute with what its workers must have in common
FACTS_WAIT_S = 10.0


def make_sampler(name: str, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """`nsga2`, `tpe` or `random`; NSGA-II has about five generations in `trials`. Raises ConfigError."""
    import optuna

    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=population_size(trials), seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    raise ConfigError(f'no sampler "{name}"', hint=near_names(name, SAMPLERS))


def population_size(trials: int) -> int:
    """Of one generation of NSGA-II."""
    return min(50, max(8, trials // 5))


def join_study(
    storage: optuna.storages.BaseStorage,
    name: str,
    metrics: Mapping[str, Direction],
    facts: Mapping[str, Any],
    *,
    sampler: optuna.samplers.BaseSampler,
    seeds: Sequence[Mapping[str, Any]] = (),
) -> optuna.Study:
    """Load the study `name`, or make it with `seeds` as its first trials.

    `metrics` are the objectives, "maximize" or "minimize" by name; `facts` (JSON types) are what all workers must have
    in common. Raises ConfigError, naming what differs, where the study was begun with others.
    """
    import optuna

    facts = json.loads(json.dumps(facts))  # as they come back from storage
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=list(metrics.values()), sampler=sampler
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler)
        sampler.reseed_rng()  # workers with one seed would all propose the same
        deadline = time.monotonic() + FACTS_WAIT_S
        while FACTS not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.1)
    if FACTS not in study.user_attrs:  # made just now, or by one that died at once
        study.set_metric_names(list(metrics))
        study.set_user_attr(FACTS, facts)
        for values in seeds:
            study.enqueue_trial(dict(values), skip_if_exists=True)
    found = study.user_attrs[FACTS]
    if different := sorted(key for key in {*facts, *found} if facts.get(key) != found.get(key)):
        raise ConfigError(
            f'the search "{name}" was begun with other {", ".join(different)}',
            hint="use the same options to go on with it, or another --output to begin a new one",
        )
    return study
