"""`init`: begin a project in a folder, by a short dialogue or by options."""

from __future__ import annotations

import re
import sys
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from nanou_deploy.cli.completion import complete_boards, complete_experiments
from nanou_deploy.cli.options import Camera, FrameSize, Size, check_output, json_option
from nanou_deploy.cli.output import emit_json, next_step, say
from nanou_deploy.cli.platform_offer import warn_of_space
from nanou_deploy.cli.project_edit import quoted
from nanou_deploy.cli.project_file import FILE, KEYS, parse_project
from nanou_deploy.cli.train import SHIPPED
from nanou_deploy.errors import DeployError

_PICTURES = ("images", "image", "img", "pictures", "photos", "frames", "JPEGImages")
_MASKS = ("masks", "mask", "labels", "annotations", "SegmentationClass")
_LOOKED_AT = 1000  # entries of a folder
_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")
FEW_PICTURES = 150  # docs/TRAINING.md, "Few pictures", has what was measured
_SOURCES = {"data.images", "data.masks", "data.labels"}
_EXPERIMENTS = ("default", "good", "accurate")


@click.command(short_help="Begin a project: nanou.toml.")
@click.option("--images", help="Folder of your pictures.")
@click.option("--masks", help="Folder of their masks.")
@click.option("--labels", help="In place of masks: what a labelling tool saved, as `prepare --labels` takes it.")
@click.option("--drivable", help="Of --labels: those that are drivable ground, by commas.")
@click.option("--ignore", help="Of --labels: those that count in nothing, by commas.")
@click.option("--data", help="A prepared data set, instead of --images and --masks.")
@click.option("--group-by", metavar="PATTERN|CSV", help="What pictures belong together, as `prepare` takes it.")
@click.option("--board", shell_complete=complete_boards, help="Where it has to run: esp32s3.")
@click.option("--camera", help="WIDTHxHEIGHT of the camera's pictures.")
@click.option(
    "--experiment",
    shell_complete=complete_experiments,
    help="How to train: default (minutes), good (ten minutes) or accurate (half an hour).",
)
@click.option("--from", "start_from", help="What training begins with: offroad, the shipped student, for few pictures.")
@click.option("--model", help="The run to train: runs/NAME of the folder; or a .tflite file that is taken as it is.")
@click.option("--max-ram", help="Most working RAM, such as 8KB.")
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says is found here, or left out.")
@json_option
def init(as_json: bool, yes: bool, **options: str | None) -> None:
    """Write nanou.toml, which says what the project's data, board and model are; then `nanou-deploy up` does the rest.

    Questions are asked in a terminal alone. A file that is there is never replaced: it is yours to edit.
    """
    from nanou_deploy.boards.boards import find_board

    if FILE.exists() or FILE.is_symlink():
        raise DeployError(f"{FILE} is there already", hint="edit it; every command reads it")
    check_output(FILE, is_file=True)
    given = {_KEY_OF[name]: value for name, value in options.items() if value is not None}
    proposed = _proposed(given)
    values = _asked(given, proposed) if _in_terminal() and not (yes or as_json) else proposed
    _check(values)
    text = render(values)
    _write(text)
    if as_json:
        emit_json("init/1", {"file": FILE, "values": values})
        return
    for name, value in values.items():
        say(f"{name:<18}{value}")
    say(f"{FILE} is written; docs/PROJECT.md says what else can stand there")
    if find_board(values["board"]).kind == "hardware":
        warn_of_space(Path())  # before anything is trained here
    next_step("nanou-deploy", "up")


_KEY_OF = {
    "images": "data.images", "masks": "data.masks", "labels": "data.labels", "drivable": "data.drivable",
    "ignore": "data.ignore", "data": "data.root", "group_by": "data.group_by", "board": "board",
    "camera": "camera.size", "experiment": "experiment", "start_from": "from", "model": "model",
    "max_ram": "limits.ram",
}  # fmt: skip


def _in_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _proposed(given: Mapping[str, str]) -> dict[str, str]:
    """Propose values: those given, and what the folder and the defaults say of the rest."""
    found = dict(_found()) if not given.keys() & {*_SOURCES, "data.root"} else {}
    values = {"board": "esp32s3", "experiment": "default", "model": f"runs/{_name()}", **found, **given}
    if "from" not in given and _are_few(values):
        values["from"] = SHIPPED
    if values.keys() & _SOURCES and "data.root" not in values:
        values["data.root"] = f"data/{_name()}"  # the model is called after it
    if values["model"].lower().endswith(".tflite"):
        values = {key: value for key, value in values.items() if key not in ("experiment", "from", *found)}
    return values


def _are_few(values: Mapping[str, str]) -> bool:
    """Tell whether pictures are there, but too few for a network that begins with nothing."""
    if "data.size" in values:
        return False  # the shipped student's is its own
    folder = values.get("data.images") or values.get("data.labels") or values.get("data.root")
    if folder is None or not Path(folder).is_dir():
        return False
    count = sum(path.suffix.lower() in _SUFFIXES for path in islice(Path(folder).rglob("*"), _LOOKED_AT))
    if "data.root" in values and not values.keys() & _SOURCES:
        count //= 2  # masks lie there too
    return 0 < count < FEW_PICTURES


def _found() -> Iterator[tuple[str, str]]:
    """Find a data set here, or folders that are called as pictures and masks are."""
    names = {path.name for _, path in zip(range(_LOOKED_AT), Path().iterdir(), strict=False) if path.is_dir()}
    for name in sorted(names):
        if all((Path(name) / split / "img").is_dir() for split in ("train", "val", "test")):
            yield "data.root", name
            return
    pictures, masks = (next((one for one in known if one in names), None) for known in (_PICTURES, _MASKS))
    if pictures and (masks is None or not _has_pictures(Path(masks))):
        for place in (masks, pictures):
            if place and _has_annotations(Path(place)):
                yield "data.images", pictures
                yield "data.labels", place
                return
    if pictures and masks:
        yield "data.images", pictures
        yield "data.masks", masks


def _has_pictures(folder: Path) -> bool:
    return _has(folder, _SUFFIXES)


def _has_annotations(folder: Path) -> bool:
    return _has(folder, (".json", ".xml", ".txt"))


def _has(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.suffix.lower() in suffixes for _, path in zip(range(_LOOKED_AT), folder.rglob("*"), strict=False))


def _name() -> str:
    """Derive a run's name from the folder's, in ASCII: My Gärten becomes my_garten."""
    letters = unicodedata.normalize("NFKD", Path.cwd().name.lower()).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "_", letters).strip("_")[:40] or "mine"


def _asked(given: Mapping[str, str], proposed: Mapping[str, str]) -> dict[str, str]:
    """Ask for what no option says."""
    from nanou_deploy.boards.boards import BOARDS

    values = dict(proposed)

    def ask(key: str, question: str, **how: Any) -> None:
        if key not in given:
            answer = click.prompt(question, default=values.get(key, ""), err=True, **how)
            values.pop(key, None)
            if answer:
                values[key] = answer

    if not given.keys() & {"data.root", *_SOURCES}:
        ask("data.images", "Folder of your pictures (empty: they are a data set already, or none)")
        if "data.images" in values:
            ask("data.masks", "Folder of their masks, of the same names (empty: labels of a labelling tool)")
            if "data.masks" in values:
                values.pop("data.labels", None)
            else:
                ask("data.labels", "File or folder of the labels (LabelMe, CVAT, COCO, YOLO, VOC, Roboflow)")
                ask("data.drivable", "Labels that are drivable ground, by commas")
                ask("data.ignore", "Labels that count in nothing, by commas (empty: none)")
            ask("data.group_by", "What belongs together: a pattern of names such as ^drive\\d+ (empty: nothing)")
            values.setdefault("data.root", f"data/{_name()}")
        else:
            for key in ("data.masks", "data.labels"):
                values.pop(key, None)
            ask("data.root", "Folder of the data set (empty: rendered terrain, to try it out)")
    ask("board", "Board", type=click.Choice(list(BOARDS)), show_choices=False)
    ask("experiment", "Training takes some minutes, ten, or half an hour", type=click.Choice(_EXPERIMENTS))
    ask("from", "Training begins with: offroad, the shipped student, for few pictures (empty: with nothing)")
    ask("model", "Where the run goes")
    return values


def _check(values: Mapping[str, str]) -> None:
    """Refuse what a command would refuse later. Raises DeployError, click.UsageError."""
    from nanou_deploy.boards.boards import check_firmware, find_board

    check_firmware(find_board(values["board"]))
    for key, kind in (("camera.size", Camera()), ("data.size", FrameSize()), ("limits.ram", Size())):
        if key in values:
            kind.convert(values[key], None, None)
    for key in ("data.images", "data.masks"):
        if key in values and not Path(values[key]).is_dir():
            raise DeployError(f"there is no folder {values[key]}", hint="name the folder, relative to this one")
    if "data.labels" in values and not Path(values["data.labels"]).exists():
        raise DeployError(
            f"there is no file or folder {values['data.labels']}", hint="name it, relative to this folder"
        )
    if "from" in values and values["from"] != SHIPPED and not Path(values["from"]).exists():
        raise DeployError(
            f"there is no run or file {values['from']} to begin with", hint=f"name one, or {SHIPPED}, or leave it out"
        )
    if values.get("data.root") and not values.keys() & _SOURCES and not Path(values["data.root"]).is_dir():
        raise DeployError(
            f"there is no data set {values['data.root']}", hint="give --images and --masks, or --labels, to make one"
        )


def render(values: Mapping[str, str]) -> str:
    """Write the file's text: what is said, and as comments what else could be. Reading it gives the same values."""
    lines = ["# What nanou-deploy's commands take where no option says otherwise. Paths are relative to this file."]
    section = ""
    for key in KEYS:
        head, _, name = key.name.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"[{section}]"]
        said = f"{name} = {quoted(values[key.name])}" if key.name in values else f"# {name} = {quoted(key.example)}"
        lines.append(f"{said:<38}# {key.text}")
    text = "\n".join(lines) + "\n"
    if dict(parse_project(tomllib.loads(text)).values) != dict(values):
        raise DeployError("the values cannot be written to a project file", hint="leave odd characters out")
    return text


def _write(text: str) -> None:
    from codegen.atomic_files import replacing

    with replacing(FILE, may_exist=False) as partial:
        partial.write_text(text, encoding="utf-8")
