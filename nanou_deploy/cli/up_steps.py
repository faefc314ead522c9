"""State the steps of `up`: a command each, what its result is made of, and when that has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codegen import __version__
from nanou_deploy.cli.output import GOES_ON, progress
from nanou_deploy.cli.project_file import Project
from nanou_deploy.errors import EXIT_OK, DeployError


@dataclass(frozen=True)
class Step:
    """A command, the path of its result, and digests: of what that is made of, and of itself ("" where there is none).

    `prepare` is called before the command with the digest of what `up` had made, and may add arguments; `check` before
    the next step, and raises DeployError where that would be in vain.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    result: Path
    sources: Callable[[], str]
    made: Callable[[], str]
    prepare: Callable[[str], tuple[str, ...]] = lambda _made: ()
    check: Callable[[], None] = lambda: None

    @property
    def command(self) -> str:
        return shlex.join(("nanou-deploy", *self.arguments))

    def run(self, made_before: str, *, yes: bool = False) -> int:
        """Run the command, as if it had been typed, and return its exit code. Raises what the command raises."""
        from nanou_deploy.cli import cli

        agreed = ("--yes",) if yes and self.name == "firmware" else ()
        arguments = [*self.arguments, *self.prepare(made_before), *agreed]
        code = cli.main(arguments, prog_name="nanou-deploy", standalone_mode=False, obj=GOES_ON)
        return code if isinstance(code, int) else EXIT_OK


def steps_of(project: Project) -> tuple[Step, ...]:
    """Return the steps from a project's data to its firmware. Raises DeployError where the file says too little."""
    values = project.values
    for key in ("model", "board"):
        if key not in values:
            raise DeployError(f"nanou.toml says nothing of {key}", hint=f'add a line {key} = "..."')
    model, output = Path(values["model"]), Path(values.get("output", f"build/{values['board']}"))
    firmware = _firmware(project, model, output)
    if not project.trains:
        return (firmware,)
    data = (_data(project),) if values.keys() & {"data.images", "data.labels"} else ()
    return (*data, _training(project, model), _int8(model), firmware)


def _data(project: Project) -> Step:
    values = project.values
    root = Path(values["data.root"])
    folders = [Path(values[key]) for key in ("data.images", "data.masks", "data.labels") if key in values]
    files = [Path(values[key]) for key in ("data.label_map", "data.group_by") if key in values]

    def replace(made_before: str) -> tuple[str, ...]:
        return ("--force",) if made_before and made_before == content(root) else ()

    def sources() -> str:
        settings = {key: value for key, value in values.items() if key.startswith("data.")}
        return digest(settings, *map(listing, folders), *map(content, files))

    return Step("data", "Data set", ("prepare",), root, sources, lambda: content(root), replace)


def _training(project: Project, run: Path) -> Step:
    values = project.values
    root = Path(values["data.root"]) if "data.root" in values else None

    def sources() -> str:
        from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, load_experiment

        config = Path(values["experiments"]) if "experiments" in values else DEFAULT_CONFIG
        experiment = load_experiment(config, values.get("experiment", "default"))
        folders = filter(None, (experiment.teacher.soft_masks, experiment.data.unlabelled))
        data = content(root) if root else "embedded terrain"
        start = [values["from"], content(Path(values["from"]))] if "from" in values else []
        return digest(experiment.deciding(), data, *map(listing, folders), *filter(None, [start]))

    def made() -> str:
        return content(run / "manifest.json") if _is_complete(run) else ""

    def keep_old(made_before: str) -> tuple[str, ...]:
        if made_before and made_before == made():
            kept = _free_name(run)
            run.rename(kept)
            progress(f"{run} is kept as {kept}")
        return ()

    return Step("training", "Training", ("train",), run, sources, made, keep_old, lambda: _check_worth(run))


def _int8(run: Path) -> Step:
    from nanou_train.runs.int8_model import int8_path

    folder = int8_path(run).parent
    return Step(
        "int8", "Int8 model", ("quantize",), int8_path(run),
        lambda: digest(content(run / "manifest.json")), lambda: content(folder),
    )  # fmt: skip


def _firmware(project: Project, model: Path, output: Path) -> Step:
    from codegen.library.render import MANIFEST
    from nanou_train.runs.int8_model import int8_path

    def sources() -> str:
        said = {key: value for key, value in project.values.items() if not key.startswith("data.")}
        files = [int8_path(model).parent] if project.trains else [model, model.with_suffix(".json")]
        return digest(said, __version__, *map(content, [*files, Path("user")]))

    def made() -> str:
        return content(output / MANIFEST) or content(output / "nanou_model" / MANIFEST)

    return Step("firmware", "Verified firmware", ("build",), output, sources, made)


def _is_complete(run: Path) -> bool:
    from nanou_train.errors import TrainError
    from nanou_train.runs.run_folder import read_manifest

    try:
        read_manifest(run)
    except TrainError:
        return False
    return True


def _check_worth(run: Path) -> None:
    from nanou_deploy.cli.training_output import beats_constant_mask
    from nanou_train.runs.run_folder import read_manifest

    if not beats_constant_mask(read_manifest(run)["metrics"]):
        raise DeployError(
            f"{run} sees no more than a mask that looks at no picture",
            hint="nothing is made of it: look at the data with `nanou-deploy data-check`, or train longer",
        )


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return kept


# ---- Digests ---------------------------------------------------------------------------------------------------


def digest(*parts: object) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def content(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names; empty where there is neither."""
    if path.is_file():
        return _sha256(path)
    return digest(*((name, _sha256(path / name)) for name in _names(path))) if path.is_dir() else ""


def listing(path: Path) -> str:
    """Digest of names, sizes and times below a folder: pictures of a camera are too many bytes to read each time."""
    if path.is_file():
        return content(path)
    stats = ((name, (path / name).stat()) for name in _names(path))
    return digest(*((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)) if path.is_dir() else ""


def _names(folder: Path) -> list[str]:
    """Regular files below a folder, without following links to folders."""
    return sorted(_below(folder))


def _below(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not name.startswith("."):
                yield path.relative_to(folder).as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
