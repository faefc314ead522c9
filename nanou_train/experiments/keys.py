"""Read an experiment from nested, dotted or flat keys; each flat key is the alias of one path.

Files, `--set`, sweeps and `train_model(**overrides)` take `student: {epochs: 3}`, `student.epochs` and `epochs` alike.
What they say is kept by path, so that nothing depends on how a key was spelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import ExperimentConfig, Section, Value
from nanou_train.networks.architectures import near_names

ALIASES: Mapping[str, str] = {
    "model_name": "student.preset",
    "model": "student.network",
    "start_from": "student.start_from",
    "freeze": "student.freeze",
    "epochs": "student.epochs",
    "batch_size": "student.batch_size",
    "learning_rate": "student.learning_rate",
    "weight_decay": "student.weight_decay",
    "schedule": "student.schedule",
    "plateau_patience": "student.plateau.patience",
    "plateau_factor": "student.plateau.factor",
    "tversky": "student.tversky.share",
    "tversky_alpha": "student.tversky.alpha",
    "tversky_beta": "student.tversky.beta",
    "weight_average": "student.weight_average",
    "keep": "student.keep",
    "early_stopping": "student.early_stopping",
    "patience": "student.patience",
    "quantization_aware": "student.quantization.aware",
    "requantization": "student.quantization.requantization",
    "activation_ranges": "student.quantization.activation_ranges",
    "quantization_start": "student.quantization.start",
    "freeze_epochs": "student.quantization.freeze_epochs",
    "threshold": "student.threshold",
    "teacher_name": "teacher.preset",
    "teacher": "teacher.network",  # beside the section of this name: see `_teacher`
    "teacher_weights": "teacher.weights",
    "teacher_epochs": "teacher.epochs",
    "teacher_learning_rate": "teacher.learning_rate",
    "teacher_augment": "teacher.augment",
    "use_distillation": "distillation.enabled",
    "alpha": "distillation.alpha",
    "temperature": "distillation.temperature",
    "teacher_cache": "distillation.cache",
    "teacher_views": "distillation.views",
    "blend": "distillation.blend",
    "terrain": "data.terrain",
    "input_size": "data.input_size",
    "input_channels": "data.input_channels",
    "augment": "data.augment",
    "strategy": "run.strategy",
    "restarts": "run.restarts",
    "debug_mode": "run.debug_mode",
    "output_dir": "run.output_dir",
    "checkpoint_path": "run.checkpoint_path",
    "log_dir": "run.logs.folder",
    "verbose_logging": "run.logs.batches",
    "tensorboard": "run.logs.tensorboard",
    "use_nas": "run.nas.enabled",
    "layers_to_monitor": "run.nas.layers",
    "nas_frequency": "run.nas.frequency",
    "constraints": "run.constraints",
}
SHORT: Mapping[str, str] = {path: flat for flat, path in ALIASES.items()}
MOST_RUNS = 1000  # of a sweep
LONGEST_SHOWN = 80  # characters of a value in an error

Place = Sequence[str | int]
Where = Callable[[Place], str]  # the place of a key, for an error's message


@dataclass(frozen=True)
class Given:
    """Value of a key, and the keys by which it was given."""

    value: Any
    spelled: tuple[str, ...]
    where: Where

    @property
    def name(self) -> str:
        return ".".join(self.spelled)

    def at(self, *inside: str | int) -> str:
        """Return the place of the value, or of a part of it."""
        return self.where([*self.spelled, *inside])


Paths = Mapping[str, Given]  # by path, such as "student.epochs"


def as_config(config: ExperimentConfig | Mapping[str, Any]) -> ExperimentConfig:
    """Check a mapping of keys; a configuration is taken as it is. Raises ConfigError."""
    return config if isinstance(config, ExperimentConfig) else validate(config, where=lambda _: "the configuration")


def validate(values: Mapping[str, Any], *, where: Where) -> ExperimentConfig:
    """Check keys and values. Raises ConfigError for the first that is wrong."""
    return checked(given(values, where=where))


def given(values: Mapping[str, Any], *, where: Where) -> dict[str, Given]:
    """Resolve keys to paths. Raises ConfigError for an unknown key, and for one given twice."""
    found: dict[str, Given] = {}
    for path, one in _leaves(values, "", (), where):
        if path in found:
            names = f"{found[path].name} and {one.name}"
            raise ConfigError(f"{one.at()}: {names} are the same key", hint="give one of the two")
        found[path] = one
    return found


def checked(paths: Paths) -> ExperimentConfig:
    """Check an experiment's resolved keys, and each run of its sweep. Raises ConfigError for the first mistake."""
    rest = {path: one for path, one in paths.items() if path != "sweep"}
    if "sweep" not in paths or paths["sweep"].value is None:
        return _model(rest, None)
    sweep = _sweep(paths["sweep"])
    config = _model(rest, sweep)
    for point in sweep_points(config):
        named = f"{paths['sweep'].at()}, sweep {short_names(point)}"
        own = checked({**rest, **given(point, where=lambda _, named=named: named)})  # type: ignore[misc]
        if own.data.train_on_validation:
            raise _nothing_chooses("a sweep", named)
    return config


def sweep_points(config: ExperimentConfig) -> tuple[dict[str, Any], ...]:
    """List what each run of a sweep changes, by path; empty without one."""
    if isinstance(config.sweep, dict):
        return tuple(dict(zip(config.sweep, values, strict=True)) for values in product(*config.sweep.values()))
    return tuple(config.sweep or ())


def by_path(config: ExperimentConfig) -> dict[str, Any]:
    """List every key's value by its path."""
    return {path: one.value for path, one in given(config.model_dump(), where=_nowhere).items()}


def from_paths(values: Mapping[str, Any]) -> ExperimentConfig:
    """Build the experiment of values by path: the inverse of `by_path`. Raises ConfigError."""
    return checked({path: Given(value, (path,), _nowhere) for path, value in values.items()})


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrange values by path as sections within sections."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *sections, key = path.split(".")
        inside = found
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[key] = value
    return found


def flat(config: ExperimentConfig) -> dict[str, Any]:
    """List every key's value by its short name; JSON types only."""
    values = {path: one.value for path, one in given(config.model_dump(mode="json"), where=_nowhere).items()}
    sweep = short_names(config.sweep) if isinstance(config.sweep, dict) else [*map(short_names, config.sweep or ())]
    return {**short_names(values), "sweep": sweep or None}


def short_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace paths by short names, where they have one."""
    return {SHORT.get(path, path): value for path, value in values.items()}


def _nowhere(_place: Place) -> str:
    return "the configuration"


def _leaves(
    values: Mapping[str, Any], inside: str, spelled: tuple[str, ...], where: Where
) -> Iterator[tuple[str, Given]]:
    """Walk a mapping down to keys that are no sections: path and given value of each."""
    for key, value in values.items():
        place = (*spelled, key)
        path = _path(inside, key, value, where(place))
        if path not in SECTIONS:
            yield path, Given(value, place, where)
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.", place, where)
        else:
            keys = ", ".join(SECTIONS[path].model_fields)
            raise ConfigError(
                f"{where(place)}: {key} = {_shown(value)}, but {key} is a section", hint=f"write keys below it: {keys}"
            )


def _path(inside: str, key: Any, value: Any, place: str) -> str:
    """Resolve one key to its path. Raises ConfigError for an unknown one."""
    path = f"{inside}{key}"
    if not inside:
        path = _teacher(value) if key == "teacher" else ALIASES.get(key, path)
    if path in KEYS or path in SECTIONS:
        return path
    known = [*SECTIONS[inside.rstrip(".")].model_fields, *(() if inside else ALIASES)]
    meant = [known for known in KEYS if known == ALIASES.get(key) or known.endswith(f".{key}")]
    hint = f"write {' or '.join(meant)}" if meant else near_names(str(key), known)
    raise ConfigError(f'{place}: unknown key "{path}"', hint=hint)


def _teacher(value: Any) -> str:
    """Resolve the key `teacher`: a section, or a path, or the network of a flat file; a sweep lists these."""
    one = value[0] if isinstance(value, list | tuple) and value else value
    if isinstance(one, str | Path):
        return "teacher.weights"
    return "teacher" if isinstance(one, Mapping) and "architecture" not in one else "teacher.network"


def _sweep(one: Given) -> dict[str, tuple[Any, ...]] | tuple[dict[str, Any], ...]:
    """Resolve a sweep's keys to paths. Raises ConfigError for what is no sweep, and for one of too many runs."""

    def place(*inside: str | int) -> Where:
        return lambda keys: f"{one.at(*inside, *keys)}, sweep"

    found: dict[str, tuple[Any, ...]] | tuple[dict[str, Any], ...] = ()
    if isinstance(one.value, Mapping):
        grid = given(one.value, where=place())
        if all(isinstance(values.value, list | tuple) and values.value for values in grid.values()):
            found = {path: tuple(values.value) for path, values in grid.items()}
    elif isinstance(one.value, list | tuple) and all(isinstance(item, Mapping) for item in one.value):
        items = (given(item, where=place(index)) for index, item in enumerate(one.value))
        found = tuple({path: value.value for path, value in item.items()} for item in items)
    count = prod(map(len, found.values())) if isinstance(found, dict) else len(found)
    if not found:
        raise ConfigError(
            f"{one.at()}: sweep = {_shown(one.value)}: no values to try",
            hint="write KEY: [VALUE, ...] for each combination, or a list of {KEY: VALUE, ...}",
        )
    if count > MOST_RUNS:
        raise ConfigError(f"{one.at()}: a sweep of {count:,} runs", hint=f"at most {MOST_RUNS:,}: sweep fewer values")
    if any("sweep" in item for item in ([found] if isinstance(found, dict) else found)):
        raise ConfigError(f"{one.at()}: a sweep within a sweep", hint="list its values in the outer one")
    return found


def _model(paths: Paths, sweep: Any) -> ExperimentConfig:
    values = nested({path: one.value for path, one in paths.items()})
    try:
        config = ExperimentConfig.model_validate({**values, "sweep": sweep})
    except ValidationError as error:
        raise _wrong_value(error.errors()[0], paths) from error
    if config.data.train_on_validation and config.run.restarts > 1:
        raise _nothing_chooses(f"run.restarts = {config.run.restarts}", paths["data.train_on_validation"].at())
    return config


def _nothing_chooses(among: str, where: str) -> ConfigError:
    return ConfigError(
        f"{where}: data.train_on_validation with {among}: no pictures are left to choose by",
        hint="choose first, then train one run with data.train_on_validation and run.restarts 1",
    )


def _wrong_value(error: ErrorDetails, paths: Paths) -> ConfigError:
    """Say what is wrong with a value, or a part of it, where it was given."""
    parts = error["loc"]
    size = next(size for size in range(len(parts), 0, -1) if ".".join(map(str, parts[:size])) in paths)
    path, inside = ".".join(map(str, parts[:size])), parts[size:]
    one = paths[path]
    key = ".".join(map(str, [one.name, *inside]))
    if error["type"] == "extra_forbidden":
        kinds = (KEYS[path].annotation, *get_args(KEYS[path].annotation))
        known = next(kind.model_fields for kind in kinds if isinstance(kind, type) and issubclass(kind, Value))
        return ConfigError(f'{one.at(*inside)}: unknown key "{key}"', hint=near_names(str(inside[-1]), known))
    hint = error.get("ctx", {}).get("hint") or f"correct {key}: {_bounds(path)}"
    return ConfigError(f"{one.at(*inside)}: {key} = {_shown(error['input'])}: {error['msg']}", hint=hint)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _bounds(path: str) -> str:
    """Describe a key's type, bounds and default in words."""
    section, _, key = path.rpartition(".")
    shape = SECTIONS[section].model_json_schema()["properties"][key]
    bounds = [
        f"{word} {shape[name]:g}"
        for name, word in (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"))
        if name in shape
    ]
    if "enum" in shape:
        bounds.append(f"one of {', '.join(map(str, shape['enum']))}")
    default = f"by default {KEYS[path].default}"
    return ", ".join([str(shape.get("type", "docs/API.md says what it is")), *bounds, default])


def _fields(section: type[Section], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """List every field of a section and of those below it, by path."""
    for name, field in section.model_fields.items():
        yield f"{path}{name}", field
        if (below := _section(field)) is not None:
            yield from _fields(below, f"{path}{name}.")


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


SECTIONS: Mapping[str, type[Section]] = {
    "": ExperimentConfig,
    **{path: kind for path, field in _fields(ExperimentConfig) if (kind := _section(field)) is not None},
}
KEYS: Mapping[str, FieldInfo] = {path: field for path, field in _fields(ExperimentConfig) if path not in SECTIONS}
