"""Derive the configuration of a run that another run makes: it inherits all but what its kind changes.

`sweep point`, of a sweep: the sweep itself goes.
`restart`, of a run with several: it is one, with checkpoints of its own, held to no constraints; pictures without masks
  have them by now.
`teacher`, of a run that trains one: as a restart; network, epochs, rate and augmentation are the teacher's, and the
  student's start, rounding, distillation and watching go.
`pruning round`, of the run that is pruned: as a restart; nothing is frozen, logs go, rounding begins at once, and
  ranges rest for a quarter of the epochs at most.
`candidate`, of a search's parent: as a pruning round; it starts from no folder, ranges never rest, the last epoch is
  kept and none is spared, nothing is watched, the teacher's answers are kept, and averages and views are capped at what
  a few epochs can use.
`front point`, of a search's parent: as a pruning round; the teacher, which may have another size, answers once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from nanou_train.experiments.config import Distillation, ExperimentConfig, Quantization, Redundancy, Teacher
from nanou_train.experiments.keys import by_path, from_paths, given

Kind = Literal["sweep point", "teacher", "restart", "pruning round", "candidate", "front point"]

# A few epochs cannot fill a long average of weights, nor meet many views.
CANDIDATE_AVERAGE = 0.98
CANDIDATE_VIEWS = 6


def derived(config: ExperimentConfig, kind: Kind, **own: Any) -> ExperimentConfig:
    """Derive the configuration of a run of a kind; `own` are keys of its own, by short name. Raises ConfigError."""
    own_paths = {path: one.value for path, one in given(own, where=lambda _: kind).items()}
    told = from_paths(by_path(config) | own_paths)
    changed = {path: one.value for path, one in given(_CHANGES[kind](told), where=lambda _: kind).items()}
    return from_paths(by_path(config) | changed | own_paths)


def _sweep_point(_config: ExperimentConfig) -> dict[str, Any]:
    return {"sweep": None}


def _restart(_config: ExperimentConfig) -> dict[str, Any]:
    own = {"run.restarts": 1, "run.constraints": None, "run.checkpoint_path": None}
    return {"sweep": None, "data.unlabelled": None, **own}


def _teacher(config: ExperimentConfig) -> dict[str, Any]:
    teacher, (height, width, channels) = config.teacher, config.input_shape
    return {
        **_restart(config),
        "student.preset": teacher.preset,
        "student.network": teacher.network,
        "student.epochs": teacher.epochs,
        "student.learning_rate": teacher.learning_rate,
        "student.start_from": None,
        "student.freeze": "nothing",
        "student.quantization": Quantization().model_dump(),
        "teacher": Teacher().model_dump(),
        "distillation": Distillation(enabled=False).model_dump(),
        "data.input_size": (height, width),
        "data.input_channels": channels,
        "data.augment": teacher.augment or config.data.augment,
        "run.nas": Redundancy().model_dump(),
    }


def _pruning_round(config: ExperimentConfig) -> dict[str, Any]:
    rest = min(config.student.quantization.freeze_epochs, config.student.epochs // 4)
    return {
        **_restart(config),
        "run.logs.folder": None,
        "student.freeze": "nothing",
        "student.quantization.start": 0,
        "student.quantization.freeze_epochs": rest,
    }


def _candidate(config: ExperimentConfig) -> dict[str, Any]:
    return {
        **_pruning_round(config),
        "student.quantization.freeze_epochs": 0,
        "student.start_from": None,
        "student.early_stopping": False,
        "student.keep": "last",
        "student.weight_average": min(config.student.weight_average, CANDIDATE_AVERAGE),
        "distillation.cache": True,
        "distillation.views": min(config.distillation.views, CANDIDATE_VIEWS),
        "run.nas.enabled": False,
    }


def _front_point(config: ExperimentConfig) -> dict[str, Any]:
    return {**_pruning_round(config), "distillation.cache": True}


_CHANGES: Mapping[Kind, Callable[[ExperimentConfig], dict[str, Any]]] = {
    "sweep point": _sweep_point,
    "teacher": _teacher,
    "restart": _restart,
    "pruning round": _pruning_round,
    "candidate": _candidate,
    "front point": _front_point,
}
