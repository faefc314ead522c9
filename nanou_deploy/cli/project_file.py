"""Read nanou.toml, a project's own defaults of the commands' options: an option beats the file, the file the default.

It is looked for in the current folder alone, and each command says what it took from it. No key names a port, a program
or a path outside what an option could name: a stranger's project file starts nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from codegen.untrusted import printable, read_bounded, shown
from nanou_deploy.cli.output import note
from nanou_deploy.errors import DeployError

FILE = Path("nanou.toml")
FILE_BYTES = 64 << 10
_TEXT_LENGTH = 1024
_SOURCES = {"data.images", "data.masks", "data.labels"}
_OF_RUNS = ("train", "quantize", "prune", "search")  # a model that was made elsewhere is none of theirs
_INSTEAD = {
    "model": ("run_folder",),
    "boards": ("ports",),
    "board": ("ports", "boards"),
    "masks": ("labels",),
    "labels": ("masks",),
}
_INSTEAD_IN: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("predict", "threshold"): ("port",),  # a device decides by itself
}


@dataclass(frozen=True)
class Key:
    """A key of the file: what it says, an example, and the parameter of each command whose default it is."""

    name: str
    text: str
    example: str
    options: Mapping[str, str]


def _all(parameter: str, *commands: str) -> dict[str, str]:
    return dict.fromkeys(commands, parameter)


_LIBRARY = ("build", "generate", "export", "verify", "bench")
KEYS = (
    Key(
        "board", "Where it has to run; `nanou-deploy boards` lists them.", "esp32s3",
        _all("board", "build", "generate", "export", "bench", "inspect", "flash", "run", "search", "prune", "fit")
        | {"verify": "boards"},
    ),
    Key("experiment", "How to train: `nanou-deploy experiment --list`.", "default", {"train": "experiment"}),
    Key("from", "What training begins with: offroad, the shipped student; a run, or a .keras file.", "offroad",
        {"train": "start_from"}),
    Key("experiments", "A file of experiments of your own.", "experiments.yaml", _all("config", "train", "experiment")),
    Key(
        "model", "The run that `train` makes and others read; or a .tflite file, not trained.", "runs/rover",
        _all("model", "calibrate", "evaluate", "predict", "build", "generate", "export", "verify", "inspect", "run")
        | {"card": "model", "monitor": "model"}
        | {"bench": "models", "train": "output", "quantize": "run_folder", "prune": "run_folder", "search": "parent"},
    ),
    Key("output", "Folder of the firmware; build/BOARD where nothing is said.", "build/rover",
        {"build": "output", "flash": "project"}),
    Key("threshold", "Probability from which on a pixel is drivable, instead of the model's own.", "0.5",
        _all("threshold", "build", "generate", "run", "predict", "evaluate")),
    Key("policy", "Numbers of GO, STOP, steering: docs/ROBOT.md.", "go=650,stop=500", _all("policy", "build", "run")),
    Key("data.images", "Folder of your pictures.", "pictures", {"prepare": "images"}),
    Key("data.masks", "Folder of their masks, of the same names.", "masks", {"prepare": "masks"}),
    Key("data.labels", "In place of masks: what a labelling tool saved, a file or a folder.", "photos",
        {"prepare": "labels"}),
    Key("data.drivable", "Of labels: those that are drivable, by commas.", "trail, grass", {"prepare": "drivable"}),
    Key("data.ignore", "Of labels: those that count in nothing.", "unsure", {"prepare": "ignore"}),
    Key("data.unlabelled", "Of labels: what pixels without any are, background or ignore.", "background",
        {"prepare": "unlabelled"}),
    Key("data.label_map", "Classes and their values in the masks; without it 255 is drivable.", "labels.yaml",
        {"prepare": "label_map"}),
    Key("data.mask_suffix", "What a mask's name has after its picture's.", "_L", {"prepare": "mask_suffix"}),
    Key("data.unmasked", "What becomes of pictures without a mask, refuse or skip.", "skip", {"prepare": "unmasked"}),
    Key("data.group_by", "What belongs together: a pattern of names, or a .csv file.", r"^drive\d+",
        {"prepare": "group_by"}),
    Key("data.size", "Height and width of the network's pictures.", "60x80", {"prepare": "size"}),
    Key("data.licence", "On what terms the pictures are: it stands in the model's card.", "CC BY 4.0",
        {"prepare": "licence"}),
    Key("data.attribution", "Whom to name for them.", "A. Person", {"prepare": "attribution"}),
    Key("data.root", "The prepared data set.", "data",
        {"prepare": "output", "data-check": "data", "train": "data", "bench-train": "data"}),
    Key("camera.size", "Width and height of the camera's pictures.", "160x120",
        _all("camera", "build", "generate", "run", "monitor", "predict")),
    Key("camera.flip", "How it is mounted: none, vertical, horizontal or both.", "both", _all("flip", "build", "run")),
    Key("limits.ram", "Most working RAM.", "8KB", _all("max_ram", *_LIBRARY, "search", "fit")),
    Key("limits.flash", "Most code and tables.", "64KB", _all("max_flash", *_LIBRARY, "search", "fit")),
    Key("limits.instructions", "Most instructions of one inference.", "4M", _all("max_instructions", "search", "fit")),
)  # fmt: skip


@dataclass(frozen=True)
class Project:
    """What a project file says, by key: "board", "data.images"."""

    values: Mapping[str, str]

    @property
    def trains(self) -> bool:
        """Whether its model is a run, as opposed to a file made elsewhere."""
        return not self.values.get("model", "").lower().endswith(".tflite")


def read_project(path: Path = FILE) -> Project | None:
    """Read the project file; None where there is none. Raises DeployError naming key and line of what is wrong."""
    try:
        text = read_bounded(path, FILE_BYTES).decode("utf-8-sig")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeployError(f"cannot read {path}: {error.strerror or error}", hint="check its rights") from error
    except (ValueError, RecursionError) as error:
        raise DeployError(
            f"{path}: {printable(str(error), 200)}", hint="see https://toml.io, or begin anew with init"
        ) from error
    return parse_project(document, path)


def needed_project(path: Path = FILE) -> Project:
    """Read the project file of a command that does nothing without one. Raises DeployError where there is none too."""
    project = read_project(path)
    if project is None:
        raise DeployError(f"there is no {path} in this folder", hint="make one with `nanou-deploy init`")
    return project


def parse_project(document: Mapping[str, Any], path: Path = FILE) -> Project:
    """Check every key and value. Raises DeployError."""
    names = {key.name for key in KEYS}
    values: dict[str, str] = {}
    for name, value in _flat(document, names):
        if name not in names:
            near = get_close_matches(name, names, n=2)
            raise DeployError(
                f"{path}: unknown key {shown(name)}",
                hint=f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(names))}",
            )
        values[name] = _scalar(value, name, path)
    _check_sources(values, path)
    return Project(values)


def _check_sources(values: Mapping[str, str], path: Path) -> None:
    """Pictures become a data set by masks or by labels, which may lie beside them."""
    given = values.keys() & _SOURCES
    if "data.labels" in given and "data.masks" in given:
        raise DeployError(f"{path}: both data.masks and data.labels", hint="give one of them")
    needed = {"data.root"} | ({"data.labels"} if "data.labels" in given else {"data.images", "data.masks"})
    if given and (missing := ", ".join(sorted(needed - values.keys()))):
        raise DeployError(
            f"{path}: {missing} missing",
            hint="pictures and masks, or data.labels, become the data set data.root: give them all",
        )


def _flat(document: Mapping[str, Any], known: set[str]) -> list[tuple[str, Any]]:
    """Keys of sections by their path. A section is a table whose name begins a known key."""
    sections = {name.partition(".")[0] for name in known if "." in name}
    rows: list[tuple[str, Any]] = []
    for key, value in document.items():
        if key in sections and isinstance(value, dict):
            rows += [(f"{key}.{inner}", one) for inner, one in value.items()]
        else:
            rows.append((key, value))
    return rows


def _scalar(value: Any, name: str, path: Path) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DeployError(f"{path}: {name} is no text and no number", hint=f'write {name.split(".")[-1]} = "..."')
    text = str(value)
    if not text or len(text) > _TEXT_LENGTH or not text.isprintable():
        raise DeployError(
            f"{path}: {name} is {shown(text)}", hint=f"give 1 to {_TEXT_LENGTH} characters on one line, or leave it out"
        )
    return text


def defaults_of(project: Project, command: click.Command) -> dict[str, Any]:
    """Give click what the file says for a command's parameters: told when it is used, and only then."""
    parameters = {parameter.name: parameter for parameter in command.params}
    name = command.name or ""
    return {
        parameter: _Default(key.name, project.values[key.name], parameters[parameter])
        for key in KEYS
        if key.name in project.values and (parameter := key.options.get(name, "")) in parameters
        if project.trains or key.name != "model" or name not in _OF_RUNS
    }


@dataclass(frozen=True)
class _Default:
    """What the file says for a parameter. As text, it is what `--help` shows."""

    key: str
    value: str
    parameter: click.Parameter

    def __str__(self) -> str:
        return f"{self.value}, of {FILE}"

    def __call__(self) -> Any:
        """Take the value for a parameter that is not given; what is given comes first, and may stand in its place."""
        source = click.get_current_context().get_parameter_source
        name = self.parameter.name or ""
        instead = _INSTEAD.get(name, ()) + _INSTEAD_IN.get((click.get_current_context().command.name or "", name), ())
        if any(source(other) == ParameterSource.COMMANDLINE for other in instead):
            return None
        note(f"{FILE}: {self.key} = {self.value}")
        return (self.value,) if self.parameter.multiple or self.parameter.nargs == -1 else self.value
