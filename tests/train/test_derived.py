"""What a run that another one makes inherits, by kind: every key has a value that is not its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.derived import Kind, derived
from nanou_train.experiments.keys import KEYS, as_config, by_path

NETWORK = {"architecture": "nano_u", "filters": [4], "bottleneck": 4}
EVERYTHING: dict[str, Any] = {
    "student": {
        "preset": "nano_u_skips", "network": NETWORK, "start_from": "start", "freeze": "encoder", "epochs": 100,
        "batch_size": 3, "learning_rate": 0.3, "weight_decay": 0.3, "schedule": "plateau",
        "plateau": {"patience": 3, "factor": 0.3}, "tversky": {"share": 0.2, "alpha": 0.6, "beta": 0.4},
        "weight_average": 0.999, "keep": "last", "early_stopping": True, "patience": 3, "threshold": 0.3,
        "quantization": {
            "aware": True, "requantization": "power_of_two", "activation_ranges": "learned", "start": 3,
            "freeze_epochs": 60,
        },
    },
    "teacher": {
        "preset": "bu_net_small", "network": {**NETWORK, "architecture": "bu_net"}, "weights": "teacher.keras",
        "members": 3, "epochs": 33, "learning_rate": 0.03, "augment": "off",
    },
    "distillation": {"enabled": False, "alpha": 0.9, "temperature": 2.0, "cache": True, "views": 24, "blend": 0.5},
    "data": {
        "terrain": {"train": 3, "val": 2, "test": 1}, "input_size": [24, 32], "input_channels": 1, "augment": "full",
        "appearance": 0.4, "unlabelled": "drive",
    },
    "run": {
        "seed": 3, "restarts": 3, "debug_mode": True, "output_dir": "out", "checkpoint_path": "kept",
        "logs": {"folder": "logs", "batches": True, "tensorboard": True},
        "nas": {"enabled": True, "layers": ["logits"], "frequency": 3}, "constraints": {"max_bytes": 9},
    },
    "prune": {
        "to": 0.3, "criterion": "random", "layers": "uniform", "absorb": False, "rounds": 2, "epochs": 3,
        "final_epochs": 3,
    },
    "search": {
        "trials": 3, "sampler": "tpe", "vary": ["width"], "sizes": [[24, 32]], "narrowest": 0.3, "rungs": [3],
        "eta": 3, "finish": 3, "finish_epochs": 3,
    },
    "sweep": {"epochs": [1, 2]},
}  # fmt: skip
ONE_RUN = {"sweep", "data.unlabelled", "run.restarts", "run.constraints", "run.checkpoint_path"}
GOES_ON = {
    *ONE_RUN, "run.logs.folder", "student.freeze", "student.quantization.start", "student.quantization.freeze_epochs",
}  # fmt: skip
CHANGED: dict[Kind, set[str]] = {
    "sweep point": {"sweep"},
    "restart": ONE_RUN,
    "pruning round": GOES_ON,
    "front point": GOES_ON,  # whose `distillation.cache` is set: see below
    "candidate": {
        *GOES_ON, "student.start_from", "student.early_stopping", "student.weight_average", "distillation.views",
        "run.nas.enabled",
    },
    "teacher": {
        *ONE_RUN, "student.preset", "student.network", "student.epochs", "student.learning_rate", "student.start_from",
        "student.freeze", *(key for key in KEYS if key.startswith(("student.quantization.", "teacher.", "run.nas."))),
        *(key for key in KEYS if key.startswith("distillation.") and key != "distillation.enabled"), "data.augment",
    } - {"teacher.soft_masks"},
}  # fmt: skip


@pytest.fixture
def config() -> ExperimentConfig:
    return as_config(EVERYTHING)


def test_every_key_has_a_value_of_its_own(config: ExperimentConfig) -> None:
    """So that a key that is reset shows; but several hosts have no restarts, soft masks no weights beside them, and
    where validation is trained on there are no restarts either."""
    same = {key for key, value in by_path(config).items() if value == by_path(ExperimentConfig())[key]}
    assert same == {"run.strategy", "teacher.soft_masks", "data.train_on_validation"}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_run_inherits_everything_but_what_its_kind_changes(config: ExperimentConfig, kind: Kind) -> None:
    before, after = by_path(config), by_path(derived(config, kind))
    assert {key for key in before if before[key] != after[key]} == CHANGED[kind]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_it_is_given_counts(config: ExperimentConfig, kind: Kind) -> None:
    own = {"epochs": 7, "learning_rate": 0.07, "start_from": Path("there"), "constraints": {"max_bytes": 1}}
    found = derived(config, kind, **own)
    assert (found.student.epochs, found.student.learning_rate, found.student.start_from) == (7, 0.07, Path("there"))
    assert found.run.constraints is not None


def test_a_teacher_has_its_own_network_and_recipe(config: ExperimentConfig) -> None:
    teacher = derived(config, "teacher")
    assert teacher.network("student", 3) == config.network("teacher", 3)
    assert (teacher.student.epochs, teacher.student.learning_rate, teacher.data.augment) == (33, 0.03, "off")
    assert not teacher.student.quantization.aware
    assert derived(as_config({"augment": "full"}), "teacher").data.augment == "full"


@pytest.mark.parametrize(("epochs", "rest"), [(8, 2), (3, 0), (400, 60)])
def test_ranges_rest_for_a_quarter_of_a_pruning_round_at_most(config: ExperimentConfig, epochs: int, rest: int) -> None:
    assert derived(config, "pruning round", epochs=epochs).student.quantization.freeze_epochs == rest


def test_a_front_point_and_a_candidate_ask_their_teacher_once() -> None:
    plain = as_config({})
    for kind in ("front point", "candidate"):
        assert derived(plain, kind).distillation.cache
    assert derived(plain, "candidate").student.keep == "last"
    assert not derived(plain, "pruning round").distillation.cache
