"""What an experiment can say: its keys, their types and bounds, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nanou_train.data.augment import Strength
from nanou_train.errors import ConfigError
from nanou_train.networks.architectures import PRESETS, ModelConfig, near_names
from nanou_train.networks.distribution import Strategy

Schedule = Literal["cosine", "plateau", "constant"]
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
    """A network that is no preset: as nanou_train.networks.architectures.ModelConfig, without what the data decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["nano_u", "bu_net"]
    filters: Annotated[tuple[Positive, ...], Field(min_length=1)]
    bottleneck: Positive
    skips: bool = True


class Constraints(BaseModel):
    """What a finished run has to meet, measured on its int8 model.

    `max_parameters`: int8 weights and int32 biases, as count_parameters(deployed=True); `max_bytes`: the .tflite file;
    `min_miou`: on the test part, 0..1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_parameters: Positive | None = None
    max_bytes: Positive | None = None
    min_miou: Annotated[float, Field(gt=0, le=1)] | None = None


# Where a run writes is no part of what it is, and watching it changes nothing.
PLACES = frozenset({"output_dir", "log_dir", "checkpoint_path"})
WATCHING = frozenset(
    {"use_nas", "layers_to_monitor", "nas_frequency", "tensorboard", "verbose_logging", "constraints", "sweep"}
)


class ExperimentConfig(BaseModel):
    """One experiment. `model_name` and `teacher_name` are presets of nanou_train.networks.architectures.

    `model` and `teacher`, with architecture, filters, bottleneck and skips, describe networks instead. `input_size`
    (height, width) and `input_channels` (3: colour, 1: grey) are by default those of the preset `model_name`; the
    teacher's are the student's. How many classes a network tells apart follows from the data.

    With `use_distillation` and no `teacher_weights` (a .keras file), the teacher is trained first, for
    `teacher_epochs`, with `teacher_augment` if it is to differ. `patience` counts epochs without a better validation
    mIoU and matters only with `early_stopping`.

    With `teacher_cache` the teacher sees each training image once, as it is and mirrored, and its logits move along
    with augmentation; with `teacher_views` above 1 it sees so many augmented views of each, a share `blend` of them
    two pictures in one, and epochs draw from these (nanou_train.training.teacher_views); its answers are kept in
    `output_dir`. Without `teacher_cache` it sees each augmented batch. `weight_average` is the decay per step of the
    average of weights that is validated and kept; 0 keeps the weights themselves. `keep` says which epoch's weights a
    run ends with, and with `restarts` above 1 the student is trained from so many seeds, of which the best is kept
    (nanou_train.training.restarts).

    The learning rate follows `schedule`: "cosine", from a short warm-up to 0; "plateau", times `plateau_factor` after
    each `plateau_patience` epochs without a better validation mIoU; or "constant". `tversky` is the share of the
    Tversky loss in the loss on masks, the rest is cross entropy; `tversky_alpha` weights false positives in it,
    `tversky_beta` false negatives (nanou_train.training.distillation.tversky_loss).

    `strategy` says where training runs (nanou_train.networks.distribution): "none" on one device, "mirrored" on all
    GPUs of this computer, "multi_worker" on the hosts of TF_CONFIG. `batch_size` is divided among them.

    `start_from` is the folder of a completed run whose student to go on with, as for another place or season; `freeze`
    "encoder" then leaves everything before the decoder as it is, ranges and statistics too.

    `quantization_aware` makes the student round as its int8 model will (nanou_train.networks.fake_quant), from the
    first epoch or after `quantization_start` epochs; `freeze_epochs` is how many last ones leave ranges and statistics
    alone.

    `output_dir` holds the run folders. `checkpoint_path` is a folder for the best student so far and for what an
    interrupted run goes on from; without, that is the run folder. `log_dir` gets `epochs.csv` while a run is under
    way, with `verbose_logging` also `batches.csv`, with `tensorboard` event files; without, it is RUN/logs if one of
    the two is set. `debug_mode` runs every step eagerly and names the first layer that is not finite.

    `use_nas` watches the redundancy of `layers_to_monitor` (none: all convolutions) every `nas_frequency` batches (0:
    never) and after every epoch, in RUN/nas_logs. `constraints` are checked when a run has finished. `sweep` makes the
    experiment a series of runs: for a mapping, one for each combination of its values; for a list, one for each item.
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
    restarts: Positive = 1
    early_stopping: bool = False
    patience: Positive = 10
    use_distillation: bool = True
    teacher_name: str = "bu_net"
    teacher: NetworkSettings | None = None
    teacher_weights: Path | None = None
    teacher_epochs: Positive = 12
    teacher_learning_rate: Rate = 0.003
    teacher_augment: Annotated[Strength | None, BeforeValidator(_strength)] = None
    teacher_cache: bool = False
    teacher_views: Positive = 1
    blend: Annotated[float, Field(ge=0, le=1)] = 0.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.3
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    quantization_aware: bool = False
    activation_ranges: Literal["ema", "learned"] = "ema"
    quantization_start: Annotated[int, Field(ge=0)] = 0
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    terrain: TerrainCounts = TerrainCounts()
    output_dir: Path = Path("runs")
    checkpoint_path: Path | None = None
    log_dir: Path | None = None
    tensorboard: bool = False
    verbose_logging: bool = False
    debug_mode: bool = False
    use_nas: bool = False
    layers_to_monitor: list[str] | None = None
    nas_frequency: Annotated[int, Field(ge=0)] = 10
    constraints: Constraints | None = None
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] | list[dict[str, Any]] | None = None

    def recorded(self) -> dict[str, Any]:
        """What a manifest keeps; JSON types only."""
        return self.model_dump(mode="json", exclude=set(PLACES))

    def deciding(self) -> dict[str, Any]:
        """What decides the weights; JSON types only."""
        return self.model_dump(mode="json", exclude=set(PLACES | WATCHING))

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


Where = Callable[[Sequence[str | int]], str]  # the place of a key, for an error's message


def as_config(config: ExperimentConfig | Mapping[str, Any]) -> ExperimentConfig:
    """A configuration as it is, or one of a mapping of its keys. Raises ConfigError."""
    return config if isinstance(config, ExperimentConfig) else validate(config, where=lambda _: "the configuration")


def sweep_points(config: ExperimentConfig) -> tuple[dict[str, Any], ...]:
    """The overrides of each run of a sweep, in order; empty without one."""
    if isinstance(config.sweep, dict):
        return tuple(dict(zip(config.sweep, values, strict=True)) for values in product(*config.sweep.values()))
    return tuple(config.sweep or ())


def validate(values: Mapping[str, Any], *, where: Where) -> ExperimentConfig:
    """Check keys, values and preset names. Raises ConfigError for the first that is wrong."""
    known = tuple(ExperimentConfig.model_fields)
    for key in values:
        if key not in known:
            raise ConfigError(f'{where([key])}: unknown key "{key}"', hint=near_names(str(key), known))
    try:
        config = ExperimentConfig.model_validate(dict(values))
    except ValidationError as error:
        raise _wrong_value(error.errors()[0], where) from error
    for key in ("model_name", "teacher_name"):
        if getattr(config, key) not in PRESETS:
            raise ConfigError(
                f'{where([key])}: {key} "{getattr(config, key)}" is no model preset',
                hint=near_names(getattr(config, key), PRESETS),
            )
    if config.restarts > 1 and config.strategy != "none":
        raise ConfigError(
            f"{where(['restarts'])}: restarts = {config.restarts} with strategy {config.strategy}",
            hint="restarts are processes of one computer; leave one of the two out",
        )
    rest = {key: value for key, value in values.items() if key != "sweep"}
    for point in sweep_points(config):
        if "sweep" in point:
            raise ConfigError(f"{where(['sweep'])}: a sweep within a sweep", hint="list its values in the outer one")
        named = f"{where(['sweep'])}, sweep {point}"
        validate(rest | point, where=lambda _, named=named: named)  # type: ignore[misc]
    return config


def _wrong_value(found: Any, where: Where) -> ConfigError:
    place = found["loc"][:1] if found["loc"][0] == "sweep" else found["loc"]  # of a union, what it could have been
    key = ".".join(str(part) for part in place)
    if found["type"] != "extra_forbidden":
        return ConfigError(
            f"{where(place)}: {key} = {found['input']!r}: {found['msg']}", hint=f"correct {key}: {_kind(place[0])}"
        )
    nested: dict[str, type[BaseModel]] = {
        "terrain": TerrainCounts,
        "constraints": Constraints,
        "model": NetworkSettings,
        "teacher": NetworkSettings,
    }
    known = tuple(nested[place[0]].model_fields)
    return ConfigError(f'{where(place)}: unknown key "{key}"', hint=near_names(str(place[-1]), known))


def _kind(key: str) -> str:
    """A key's type and bounds in words, with its default."""
    field = ExperimentConfig.model_fields[key]
    shape = ExperimentConfig.model_json_schema()["properties"][key]
    bounds = [
        f"{word} {shape[name]:g}"
        for name, word in (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"))
        if name in shape
    ]
    if "enum" in shape:
        bounds.append(f"one of {', '.join(map(str, shape['enum']))}")
    return ", ".join(
        [str(shape.get("type", "see nanou_train/experiments/config.py")), *bounds, f"by default {field.default}"]
    )
