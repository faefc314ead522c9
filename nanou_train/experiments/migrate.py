"""Migrate an old configuration file to an experiment file.

Old files have the keys of `OLD_KEYS`, flat or with `distillation` and `nas` as blocks; either one experiment at the
top level, or several by name, also below `training:` or `experiments:`. A file with `*` and `<<` has to be written out
first: the new format has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from codegen.atomic_files import write_text
from nanou_train.errors import ConfigError
from nanou_train.experiments.keys import ALIASES, nested, validate
from nanou_train.networks.architectures import PRESETS, near_names
from nanou_train.yaml_file import Located, read_yaml

RENAMED = {
    "model": "model_name",
    "distillation": "use_distillation",
    "nas": "use_nas",
}
KEPT = ("epochs", "batch_size", "learning_rate", "teacher_weights", "alpha", "temperature", "layers_to_monitor")
OLD_KEYS = (*RENAMED, *KEPT, "nas_frequency")
BLOCKS = {  # what a nested block's keys are called when flat
    "model": {"name": "model"},
    "distillation": {"enabled": "distillation", **{key: key for key in ("teacher_weights", "alpha", "temperature")}},
    "nas": {"enabled": "nas", "layers_to_monitor": "layers_to_monitor", "frequency": "nas_frequency"}
    | {"log_frequency": "nas_frequency", "nas_frequency": "nas_frequency"},
}
GENERATED_NAME = re.compile(r"(depthwise_|separable_)?conv2d(_transpose)?(_\d+)?")


@dataclass
class Migration:
    """Migrated experiments, and warnings with their place in the old file."""

    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def yaml(self, source: str) -> str:
        """Render the new file's text."""
        notes = "".join(f"# {warning}\n" for warning in self.warnings)
        body = StringIO()
        YAML().dump({"experiments": self.experiments}, body)
        return f"# Migrated from {source} by `nanou-deploy migrate-config`.\n{notes}\n{body.getvalue()}"


def migrate_file(path: Path, *, name: str = "") -> Migration:
    """Read an old file; `name` is the experiment's where it has one without a name (default: the file's stem).

    Raises ConfigError, with line and near names, for unknown keys and for values that the new format refuses.
    """
    document = read_yaml(path)
    result = Migration()
    for own_name, place, values in _experiments(document):
        chosen = own_name or name or path.stem
        flat, origin = _flat(document, place, values)
        result.experiments[chosen] = _migrated(document, chosen, flat, origin, result.warnings)
    return result


def write_migration(migration: Migration, source: Path, output: Path, *, force: bool = False) -> None:
    """Write the new file. Raises ConfigError where there is one already, unless `force`, or it cannot be written."""
    if output.exists() and not force:
        raise ConfigError(f"{output} exists", hint="name another file, or replace it with --force")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, migration.yaml(source.name))
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}", hint="name another file") from error


def _experiments(document: Located) -> list[tuple[str, tuple[Any, ...], Mapping[str, Any]]]:
    """List each experiment's name (empty where it has none), place and keys."""
    values: Any = document.values
    place: tuple[Any, ...] = ()
    if isinstance(values, dict) and len(values) == 1 and next(iter(values)) in ("training", "experiments"):
        (top,) = values
        values, place = values[top], (top,)
    if not isinstance(values, dict) or not values:
        raise ConfigError(f"{document.name} is no old configuration", hint=f"its keys are {', '.join(OLD_KEYS)}")
    if any(key in OLD_KEYS for key in values):
        return [("", place, values)]
    for key, keys in values.items():
        if not isinstance(keys, dict):
            raise ConfigError(
                f'{document.where(*place, key)}: unknown key "{key}"', hint=near_names(str(key), OLD_KEYS)
            )
    return [(str(key), (*place, key), keys) for key, keys in values.items()]


def _flat(
    document: Located, place: Sequence[Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Flatten blocks of old keys, and note where each key stood."""
    flat: dict[str, Any] = {}
    origin: dict[str, tuple[Any, ...]] = {}
    for key, value in values.items():
        inner = value if isinstance(value, dict) and key in BLOCKS else {None: value}
        for inner_key, inner_value in inner.items():
            spot = (*place, key) if inner_key is None else (*place, key, inner_key)
            known = OLD_KEYS if inner_key is None else tuple(BLOCKS[key])
            name = key if inner_key is None else BLOCKS[key].get(inner_key, "")
            if name not in OLD_KEYS:
                unknown = key if inner_key is None else f"{key}.{inner_key}"
                raise ConfigError(
                    f'{document.where(*spot)}: unknown key "{unknown}"', hint=near_names(str(inner_key or key), known)
                )
            flat[name], origin[name] = inner_value, spot
        if isinstance(value, dict) and key != "model":
            flat.setdefault(key, True)  # a block that does not say otherwise is meant
            origin.setdefault(key, (*place, key))
    return flat, origin


def _migrated(
    document: Located, name: str, flat: dict[str, Any], origin: Mapping[str, tuple[Any, ...]], warnings: list[str]
) -> dict[str, Any]:
    """Rename one experiment's keys, check it, and note what means something else now."""

    def warn(key: str, text: str) -> None:
        warnings.append(f"{document.where(*origin[key])}, {key}: {text}")

    new = {RENAMED.get(key, key): value for key, value in flat.items() if value is not None}
    new.setdefault("use_distillation", False)  # the new format's default is true
    if "alpha" in flat and isinstance(flat["alpha"], int | float):
        other = round(1 - flat["alpha"], 6)
        warn(
            "alpha",
            f"{flat['alpha']:g} weights the distillation term now, as the old text said. The old code weighted the"
            f" student's own loss with it: for what that computed, write {other:g}",
        )
    watched = [entry for entry in flat.get("layers_to_monitor") or [] if GENERATED_NAME.fullmatch(str(entry))]
    if watched:
        rest = [entry for entry in flat["layers_to_monitor"] if entry not in watched]
        new["layers_to_monitor"] = rest or None
        warn(
            "layers_to_monitor", f"{', '.join(watched)} are no layers here; without names, all convolutions are watched"
        )
    if flat.get("model") == "nano_u":
        warn("model", "nano_u is the paper's network now (60x80); the one of 48x64 with skips is nano_u_skips")
    if str(flat.get("teacher_weights", ""))[-3:] == ".h5" and not str(flat["teacher_weights"]).endswith(".weights.h5"):
        warn("teacher_weights", "has to be a whole model (.keras, .h5); name weights alone NAME.weights.h5")
    back = {RENAMED.get(key, key): place for key, place in origin.items()}
    if new.get("model_name") not in (None, *PRESETS):
        raise ConfigError(
            f'{document.where(*origin["model"])}: no model preset "{new["model_name"]}"',
            hint=near_names(str(new["model_name"]), PRESETS),
        )
    validate(
        new,
        where=lambda keys: f'{document.where(*back.get(str(keys[0]) if keys else "", ()))}, experiment "{name}"',
    )
    return nested({ALIASES[key]: value for key, value in new.items() if value is not None})
