"""Define the options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from codegen.errors import ModelError
from codegen.program.objective import OPTIMIZE, Objective, Optimize
from nanou_deploy.boards.boards import BOARDS
from nanou_deploy.cli.completion import complete_boards, complete_runs
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize

# Of a threshold: nanou_train.evaluation.curves.OBJECTIVES, which a test compares: `--help` imports nothing.
OBJECTIVES = ("miou", "f1", "f05", "f2", "iou_drivable")
_SIZE_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1024**2, "mb": 1024**2, "mib": 1024**2}

_TERMS_CHARACTERS = 500  # as nanou_train.data.dataset.MAX_TERMS, which a test compares
MOST = 1_000_000_000  # of whatever is counted: a limit that nobody meets, and every machine can compute with

_Command = TypeVar("_Command", bound=Callable[..., Any])


def check_output(path: Path, *, is_file: bool = False) -> Path:
    """Find out that a folder, or a file, can be written before any work is done. Raises DeployError, OSError."""
    if path.exists() and not (path.is_file() if is_file else path.is_dir()):
        what = "a folder" if path.is_dir() else "a file" if path.is_file() else "a device or pipe"
        raise DeployError(f"cannot write {path}: it is {what}", hint="name another place")
    place = path
    while not place.is_dir():
        if place.exists() and place != path:
            raise DeployError(f"cannot write {path}: {place} is a file", hint="name another place")
        place = place.parent
    try:
        with TemporaryFile(dir=place) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path


class Output(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Parses the path of a folder, or a file, that can be written."""

    name = "path"

    def __init__(self, *, is_file: bool = False) -> None:
        self._is_file = is_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.name in ("", ".."):  # what is made there may take its name
            path = path.resolve()
        if not path.name:
            raise DeployError(f"cannot write {path}: it is the root of all folders", hint="name another place")
        return check_output(path, is_file=self._is_file)


class Existing(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses a path that is there: what reads it is started much later."""

    name = "path"
    _kind, _hint = "file or folder", "check the path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not (path.is_dir() or (path.is_file() and self._kind != "folder")):
            raise DeployError(f"there is no {self._kind} {path}", hint=self._hint)
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise DeployError(f"{path} cannot be read", hint="check its rights")
        return path


class DataFolder(Existing):
    """Parses the path of a data set."""

    _kind, _hint = "folder", "give a data set, ROOT/{train,val,test}/{img,mask}; `nanou-deploy prepare` makes one"


model_option = click.option(
    "--model",
    shell_complete=complete_runs,
    type=click.Path(path_type=Path),
    help="A .tflite file, a run folder, or the name of a model that comes with nanou-deploy. Default: nano_u_offroad.",
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["aot", "tflm"]),
    default="aot",
    show_default=True,
    help="Compiled C (aot) or the TensorFlow Lite Micro interpreter (tflm).",
)
config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="An experiments file. Default: config/experiments.yaml."
)
data_option = click.option(
    "--data",
    type=DataFolder(),
    help="Data set ROOT/{train,val,test}/{img,mask}. Default: embedded terrain.",
)
group_by_option = click.option(
    "--group-by",
    default="",
    metavar="PATTERN|CSV",
    help="What images belong together: a regular expression on their names, or a .csv file (image,group,split).",
)
force_run_option = click.option("--force", is_flag=True, help="Replace a completed run of other settings.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def run_option(name: str = "run_folder", text: str = "A completed run's folder.") -> Callable[[_Command], _Command]:
    """Define a required --run, handed to the command as `name`."""
    return click.option(
        "--run", name, shell_complete=complete_runs, type=click.Path(path_type=Path), required=True, help=text
    )


def board_option(default: str | None = "host", text: str = "") -> Callable[[_Command], _Command]:
    """Define --board; None requires one."""
    text = text or f"One of {', '.join(BOARDS)}."
    if default is None:  # click takes default=None for a value
        return click.option("--board", shell_complete=complete_boards, required=True, metavar="NAME", help=text)
    return click.option(
        "--board", shell_complete=complete_boards, default=default, show_default=True, metavar="NAME", help=text
    )


counting_boards_option = click.option(
    "--board",
    "boards",
    shell_complete=complete_boards,
    multiple=True,
    default=("rv32-qemu",),
    show_default=True,
    help="Again for more.",
)


def seed_option(default: int | None = 0, text: str = "") -> Callable[[_Command], _Command]:
    """Define --seed, in the range that every generator of random numbers takes."""
    seed = click.IntRange(0, 2**32 - 1)
    if default is None:
        return click.option("--seed", type=seed, help=text)
    return click.option("--seed", type=seed, default=default, show_default=True, help=text)


class Real(click.FloatRange):
    """Parses a number of a range that is bounded on both sides; "nan" lies in every one of click's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to compute with", param, ctx)
        return number


PROBABILITY = Real(0, 1, min_open=True, max_open=True)


class Size(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Parses a number of bytes: 8192, 8K, 8KB and 8KiB are the same."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([a-z]*)\s*", str(value).lower())
        if match is None or match[2] not in _SIZE_UNITS:
            self.fail(f"{value!r} is no size: write bytes, or for example 8KB (8,192 bytes)", param, ctx)
        return int(float(match[1]) * _SIZE_UNITS[match[2]])


class Count(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses a number of things: 4000000, 4M and 4000k are the same."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([km]?)\s*", str(value).lower().replace(",", ""))
        if match is None:
            self.fail(f"{value!r} is no number: write for example 4000000 or 4M", param, ctx)
        return round(float(match[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[match[2]])


class Camera(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses a camera's WIDTHxHEIGHT in pixels."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CameraSize:
        from codegen.graph.model import CameraSize

        if isinstance(value, CameraSize):
            return value
        match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no size of a picture: write for example 160x120", param, ctx)
        try:
            return CameraSize(int(match[1]), int(match[2]))
        except ModelError as error:
            self.fail(f"{error}; {error.hint}", param, ctx)


camera_option = click.option(
    "--camera", type=Camera(), help="Size of the camera's pictures. Default: what the model's sidecar states, 160x120."
)


threshold_option = click.option(
    "--threshold",
    type=PROBABILITY,
    help="Probability from which on a pixel is drivable, instead of the model's own.",
)


class FrameSize(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Parses HEIGHTxWIDTH in pixels."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        from codegen.graph.model import MAX_SIDE_PX

        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(value).lower())
        if match is None or not all(1 <= int(side) <= MAX_SIDE_PX for side in match.groups()):
            self.fail(f"{value!r} is no size; write height and width, 1 to {MAX_SIDE_PX}, such as 60x80", param, ctx)
        return int(match[1]), int(match[2])


class Names(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name; write names separated by commas", param, ctx)
        return names


class Terms(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses a sentence of one line, which goes into data sets, sidecars and cards."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if not text.isprintable() or len(text) > _TERMS_CHARACTERS:
            self.fail(f"write up to {_TERMS_CHARACTERS} characters on one line", param, ctx)
        return text


def cores_option(command: _Command) -> _Command:
    """Define --cores, which becomes part of the `objective`: to stand below `objective_options`."""

    @click.option(
        "--cores",
        type=click.IntRange(1, 2),
        default=1,
        show_default=True,
        help="Share each inference between two cores, where that gains something (runtime aot).",
    )
    @wraps(command)
    def with_cores(*args: Any, objective: Objective, cores: int, **kwargs: Any) -> Any:
        return command(*args, objective=replace(objective, cores=cores), **kwargs)

    return cast(_Command, with_cores)


def objective_options(command: _Command) -> _Command:
    """Define --optimize, --max-ram and --max-flash, handed to the command as one `objective`."""

    @click.option(
        "--optimize",
        type=click.Choice(OPTIMIZE),
        default="balanced",
        show_default=True,
        help="Spend least on working RAM (computing skip connections twice), or on instructions (larger code).",
    )
    @click.option("--max-ram", type=Size(), help="Most working RAM, frames not counted: 8192 or 8KB.")
    @click.option("--max-flash", type=Size(), help="Most code and tables, as the board's compiler makes them.")
    @wraps(command)
    def with_objective(*args: Any, optimize: str, max_ram: int | None, max_flash: int | None, **kwargs: Any) -> Any:
        return command(*args, objective=Objective(cast(Optimize, optimize), max_ram, max_flash), **kwargs)

    return cast(_Command, with_objective)
