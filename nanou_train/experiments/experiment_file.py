"""Experiments: named training configurations in a YAML file, checked before anything runs.

    experiments:
      default: {student: {preset: nano_u, epochs: 40}}
      long:    {extends: default, student: {epochs: 120}}

An experiment takes the keys of the one it extends, then its own, key by key. Unknown keys, experiments and parents,
cycles and values of the wrong kind are errors that name file, line and near names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import Given, Place, checked, given
from nanou_train.experiments.yaml_lines import Located, read_located
from nanou_train.networks.architectures import near_names

DEFAULT_CONFIG = Path("config/experiments.yaml")


def load_experiment(config_path: Path, name: str, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read experiment `name`; `overrides` replace single keys. Raises ConfigError."""
    document = _read(_resolve(Path(config_path)))
    experiments: dict[str, dict[str, Any]] = document.values
    paths: dict[str, Given] = {}
    for ancestor in reversed(_lineage(document, name)):
        own = {key: value for key, value in experiments[ancestor].items() if key != "extends"}
        paths |= given(own, where=partial(_in_file, document, ancestor))
    as_changed = f'experiment "{name}" of {document.path}, as changed'
    return checked(paths | given(overrides or {}, where=lambda _: as_changed))


def _in_file(document: Located, name: str, place: Place) -> str:
    return f'{document.where("experiments", name, *place)}, experiment "{name}"'


def experiment_names(config_path: Path = DEFAULT_CONFIG) -> tuple[str, ...]:
    """Names in file order. Raises ConfigError where the file cannot be read."""
    return tuple(_read(_resolve(config_path)).values)


def experiment_parents(config_path: Path = DEFAULT_CONFIG) -> dict[str, str]:
    """The name that each experiment extends, or an empty one. Raises ConfigError where the file cannot be read."""
    return {name: str(values.get("extends", "")) for name, values in _read(_resolve(config_path)).values.items()}


def _resolve(path: Path) -> Path:
    """The file to read. Outside a checkout, the default path means the copy that the package carries."""
    if path.exists() or path != DEFAULT_CONFIG:
        return path
    checkout = Path(__file__).resolve().parents[2] / DEFAULT_CONFIG
    return (
        checkout if checkout.exists() else Path(str(resources.files("nanou_train") / "_config" / DEFAULT_CONFIG.name))
    )


def _read(path: Path) -> Located:
    """The file with `values` narrowed to its experiments: name -> keys."""
    document = read_located(path)
    top = document.values if isinstance(document.values, dict) else {}
    for key in top:
        if key != "experiments":
            raise ConfigError(
                f'{document.where(key)}: unknown key "{key}", and {path} has no experiments'
                if "experiments" not in top
                else f'{document.where(key)}: unknown key "{key}" beside "experiments"',
                hint="experiments stand under a top-level key experiments:; "
                "`nanou-deploy migrate-config` turns an old file into one",
            )
    experiments = top.get("experiments")
    if not isinstance(experiments, dict) or not experiments:
        raise ConfigError(f"{path} has no experiments", hint='it needs a top-level key "experiments" with names below')
    for name, values in experiments.items():
        if values is not None and not isinstance(values, dict):
            raise ConfigError(
                f'{document.where("experiments", name)}: experiment "{name}" is no mapping of keys to values',
                hint="write KEY: VALUE lines",
            )
    return Located(path, {str(name): values or {} for name, values in experiments.items()}, document.lines)


def _lineage(document: Located, name: str) -> list[str]:
    """The experiment and its ancestors, nearest first."""
    lineage: list[str] = []
    current: str | None = name
    while current is not None:
        place = document.where("experiments", lineage[-1], "extends") if lineage else str(document.path)
        if current in lineage:
            raise ConfigError(f"{place}: {' extends '.join([*lineage, current])}: a cycle", hint="remove one extends")
        if current not in document.values:
            child = f' (which "{lineage[-1]}" extends)' if lineage else ""
            raise ConfigError(f'{place}: no experiment "{current}"{child}', hint=near_names(current, document.values))
        lineage.append(current)
        parent = document.values[current].get("extends")
        current = None if parent is None else str(parent)
    return lineage
