"""Read named experiments from a YAML file, each checked before anything runs.

    experiments:
      default: {student: {preset: nano_u, epochs: 40}}
      long:    {extends: default, student: {epochs: 120}}

An experiment takes the keys of the one it extends, of its own file or else a shipped one, then its own, key by key.
Unknown keys, experiments and parents, cycles and values of the wrong kind are errors that name file, line and near
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import Given, Place, checked, given
from nanou_train.networks.architectures import near_names
from nanou_train.yaml_file import Located, read_yaml

DEFAULT_CONFIG = Path("config/experiments.yaml")


@dataclass(frozen=True)
class ExperimentFile:
    """Keys of each experiment of a file by its name, in file order, not checked before `load`."""

    document: Located
    experiments: Mapping[str, Mapping[str, Any]]

    @property
    def parents(self) -> dict[str, str]:
        """The name that each experiment extends, or an empty one."""
        return {name: str(values.get("extends") or "") for name, values in self.experiments.items()}

    def load(self, name: str, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
        """Check one experiment; `overrides` replace single keys. Raises ConfigError."""
        paths: dict[str, Given] = {}
        for file, ancestor in reversed(self._lineage(name)):
            own = {key: value for key, value in file.experiments[ancestor].items() if key != "extends"}
            paths |= given(own, where=partial(file._where, ancestor))
        as_changed = f'experiment "{name}" of {self.document.name}, as changed'
        return checked(paths | given(overrides or {}, where=lambda _: as_changed))

    def _where(self, name: str, place: Place) -> str:
        return f'{self.document.where("experiments", name, *place)}, experiment "{name}"'

    def _lineage(self, name: str) -> list[tuple[ExperimentFile, str]]:
        """Find an experiment's ancestors and the file of each; itself first, then the nearest."""
        lineage: list[tuple[ExperimentFile, str]] = []
        file, current = self, name
        while current:
            child = lineage[-1][1] if lineage else ""
            place = file.document.where("experiments", child, "extends") if child else file.document.name
            known = list(file.parents)
            if child and current not in known:
                shipped = read_experiments()
                known += [other for other in shipped.parents if other not in known]
                file = shipped if current in shipped.experiments else file
            if (file.document.name, current) in [(one.document.name, ancestor) for one, ancestor in lineage]:
                cycle = " extends ".join([*(ancestor for _, ancestor in lineage), current])
                raise ConfigError(f"{place}: {cycle}: a cycle", hint="remove one extends")
            if current not in file.experiments:
                which = f' (which "{child}" extends)' if child else ""
                raise ConfigError(f'{place}: no experiment "{current}"{which}', hint=near_names(current, known))
            lineage.append((file, current))
            current = file.parents[current]
        return lineage


def load_experiment(config_path: Path, name: str, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read experiment `name` of a file; `overrides` replace single keys. Raises ConfigError."""
    return read_experiments(Path(config_path)).load(name, overrides)


def experiment_names(config_path: Path = DEFAULT_CONFIG) -> tuple[str, ...]:
    """List the names of a file's experiments, in order. Raises ConfigError where it cannot be read."""
    return tuple(read_experiments(config_path).experiments)


def read_experiments(path: Path = DEFAULT_CONFIG) -> ExperimentFile:
    """Read a file of experiments. Raises ConfigError, with the line, where it is none."""
    document = read_yaml(_resolve(path))
    top = document.values if isinstance(document.values, dict) else {}
    for key in top:
        if key != "experiments":
            raise ConfigError(
                f'{document.where(key)}: unknown key "{key}", and {document.name} has no experiments'
                if "experiments" not in top
                else f'{document.where(key)}: unknown key "{key}" beside "experiments"',
                hint="experiments stand under a top-level key experiments:; "
                "`nanou-deploy migrate-config` turns an old file into one",
            )
    found = top.get("experiments")
    if not isinstance(found, dict) or not found:
        raise ConfigError(
            f"{document.name} has no experiments", hint='it needs a top-level key "experiments" with names below'
        )
    for name, values in found.items():
        if values is not None and not isinstance(values, dict):
            raise ConfigError(
                f'{document.where("experiments", name)}: experiment "{name}" is no mapping of keys to values',
                hint="write KEY: VALUE lines",
            )
    return ExperimentFile(document, {name: values or {} for name, values in found.items()})


def _resolve(path: Path) -> Path:
    """Find the file to read: outside a checkout, the default path means the copy that the package carries."""
    if path.exists() or path != DEFAULT_CONFIG:
        return path
    checkout = Path(__file__).resolve().parents[2] / DEFAULT_CONFIG
    return (
        checkout if checkout.exists() else Path(str(resources.files("nanou_train") / "_config" / DEFAULT_CONFIG.name))
    )
