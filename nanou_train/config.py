"""Experiments: named training configurations in a YAML file, checked before anything runs.

    experiments:
      default: {model_name: nano_u, epochs: 40}
      long:    {extends: default, epochs: 120}

An experiment takes the keys of the one it extends, then its own. Unknown keys, experiments and parents, cycles and
values of the wrong kind are errors that name the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nanou_train.augment import Strength
from nanou_train.distribution import Strategy
from nanou_train.errors import ConfigError
from nanou_train.models import PRESETS, ModelConfig, near_names
from nanou_train.schedule import Schedule

DEFAULT_CONFIG = Path("config/experiments.yaml")
Role = Literal["student", "teacher"]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


def _strength(value: Any) -> Any:
    """YAML reads a bare `off` as false, and true and false were the only values once."""
    return {True: "light", False: "off"}[value] if isinstance(value, bool) else value


class TerrainCounts(BaseModel):
    """How many embedded scenes to render where no data set folder is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: Positive = 1200
    val: Positive = 100
    test: Positive = 200


class NetworkSettings(BaseModel):
    """A network that is no preset: as nanou_train.models.ModelConfig, without what the data decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["nano_u", "bu_net"]
    filters: Annotated[tuple[Positive, ...], Field(min_length=1)]
    bottleneck: Positive
    skips: bool = True


class ExperimentConfig(BaseModel):
    """One experiment. `model_name` and `teacher_name` are presets of nanou_train.models.

    `model` and `teacher`, with architecture, filters, bottleneck and skips, describe networks instead. `input_size`
    (height, width) and `input_channels` (3: colour, 1: grey) are by default those of the preset `model_name`; the
    teacher's are the student's. How many classes a network tells apart follows from the data.

    With `use_distillation` and no `teacher_weights` (a .keras file), the teacher is trained first, for
    `teacher_epochs`. `patience` counts epochs without a
    better validation mIoU and matters only with `early_stopping`. With `teacher_cache` the teacher sees each training
    image once, as it is and mirrored, and its logits move along with augmentation; without, it sees each augmented
    batch. `weight_average` is the decay per step of the average of weights that is validated and kept; 0 keeps the
    weights themselves. `keep` says which epoch's weights a run ends with.

    The learning rate follows `schedule`: "cosine", from a short warm-up to 0; "plateau", times `plateau_factor` after
    each `plateau_patience` epochs without a better validation mIoU; or "constant". `tversky` is the share of the
    Tversky loss in the loss on masks, the rest is cross entropy; `tversky_alpha` weights false positives in it,
    `tversky_beta` false negatives (nanou_train.distill.tversky_loss).

    `strategy` says where training runs (nanou_train.distribution): "none" on one device, "mirrored" on all GPUs of this
    computer, "multi_worker" on the hosts of TF_CONFIG. `batch_size` is divided among them.

    `start_from` is the folder of a completed run whose student to go on with, as for another place or season; `freeze`
    "encoder" then leaves everything before the decoder as it is, ranges and statistics too.

    `quantization_aware` makes the student round as its int8 model will (nanou_train.fake_quant), from the first epoch
    or after `quantization_start` epochs; `freeze_epochs` is how many last ones leave ranges and statistics alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_name: str = "nano_u"
    model: NetworkSettings | None = None
    input_size: tuple[Positive, Positive] | None = None
    input_channels: Literal[1, 3] | None = None
    start_from: Path | None = None
    freeze: Literal["nothing", "encoder"] = "nothing"
    epochs: Positive = 40
    batch_size: Positive = 16
    learning_rate: Rate = 0.01
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    augment: Annotated[Strength, BeforeValidator(_strength)] = "light"
    schedule: Schedule = "cosine"
    plateau_patience: Positive = 5
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    tversky: Annotated[float, Field(ge=0, le=1)] = 0.0
    tversky_alpha: Annotated[float, Field(ge=0, le=1)] = 0.3
    tversky_beta: Annotated[float, Field(ge=0, le=1)] = 0.7
    strategy: Strategy = "none"
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Literal["best", "last"] = "best"
    early_stopping: bool = False
    patience: Positive = 10
    use_distillation: bool = True
    teacher_name: str = "bu_net"
    teacher: NetworkSettings | None = None
    teacher_weights: Path | None = None
    teacher_epochs: Positive = 12
    teacher_learning_rate: Rate = 0.003
    teacher_cache: bool = False
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.3
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    quantization_aware: bool = False
    activation_ranges: Literal["ema", "learned"] = "ema"
    quantization_start: Annotated[int, Field(ge=0)] = 0
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    terrain: TerrainCounts = TerrainCounts()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of student and teacher."""
        height, width, channels = PRESETS[self.model_name].input_shape
        height, width = self.input_size or (height, width)
        return height, width, self.input_channels or channels

    @property
    def created(self) -> tuple[Role, ...]:
        """The networks that a run makes, as opposed to those that it is given."""
        made: dict[Role, bool] = {
            "student": self.start_from is None,
            "teacher": self.use_distillation and self.teacher_weights is None,
        }
        return tuple(role for role, new in made.items() if new)

    def network(self, role: Role, classes: int) -> ModelConfig:
        """What `create_model_from_config` builds for one of the two."""
        settings = self.model if role == "student" else self.teacher
        name = self.model_name if role == "student" else self.teacher_name
        base = PRESETS[name] if settings is None else ModelConfig(input_shape=self.input_shape, **dict(settings))
        return replace(base, input_shape=self.input_shape, classes=classes)


def load_experiment(config_path: Path, name: str, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read experiment `name`; `overrides` replace single keys. Raises ConfigError."""
    path = _resolve(config_path)
    experiments = _read(path)
    values: dict[str, Any] = {}
    for ancestor in reversed(_lineage(experiments, name, path)):
        values |= {key: value for key, value in experiments[ancestor].items() if key != "extends"}
    return validate(values | dict(overrides or {}), where=f'experiment "{name}" in {config_path}')


def experiment_names(config_path: Path = DEFAULT_CONFIG) -> tuple[str, ...]:
    """Names in file order. Raises ConfigError where the file cannot be read."""
    return tuple(_read(_resolve(config_path)))


def validate(values: Mapping[str, Any], *, where: str) -> ExperimentConfig:
    """Check keys, values and preset names. Raises ConfigError for the first that is wrong."""
    known = tuple(ExperimentConfig.model_fields)
    for key in values:
        if key not in known:
            raise ConfigError(f'{where}: unknown key "{key}"', hint=near_names(str(key), known))
    try:
        config = ExperimentConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key} = {first['input']!r}: {first['msg']}", hint=f"correct {key}") from error
    for key in ("model_name", "teacher_name"):
        if getattr(config, key) not in PRESETS:
            raise ConfigError(
                f'{where}: {key} "{getattr(config, key)}" is no model preset',
                hint=near_names(getattr(config, key), PRESETS),
            )
    return config


def _resolve(path: Path) -> Path:
    """The file to read. Outside a checkout, the default path means the copy that the package carries."""
    if path.exists() or path != DEFAULT_CONFIG:
        return path
    checkout = Path(__file__).resolve().parent.parent / DEFAULT_CONFIG
    return (
        checkout if checkout.exists() else Path(str(resources.files("nanou_train") / "_config" / DEFAULT_CONFIG.name))
    )


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="give the path of an experiment file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}", hint="correct the file at that line") from error
    experiments = document.get("experiments") if isinstance(document, dict) else None
    if not isinstance(experiments, dict) or not experiments:
        raise ConfigError(f"{path} has no experiments", hint='it needs a top-level key "experiments" with names below')
    for name, values in experiments.items():
        if values is not None and not isinstance(values, dict):
            raise ConfigError(
                f'{path}: experiment "{name}" is no mapping of keys to values', hint="write KEY: VALUE lines"
            )
    return {str(name): values or {} for name, values in experiments.items()}


def _lineage(experiments: Mapping[str, Mapping[str, Any]], name: str, path: Path) -> list[str]:
    """The experiment and its ancestors, nearest first."""
    lineage: list[str] = []
    current: str | None = name
    while current is not None:
        if current in lineage:
            raise ConfigError(f"{path}: {' extends '.join([*lineage, current])}: a cycle", hint="remove one extends")
        if current not in experiments:
            child = f' (which "{lineage[-1]}" extends)' if lineage else ""
            raise ConfigError(f'{path} has no experiment "{current}"{child}', hint=near_names(current, experiments))
        lineage.append(current)
        parent = experiments[current].get("extends")
        current = None if parent is None else str(parent)
    return lineage
