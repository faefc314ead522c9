"""Every command in every kind of trouble: what is missing, unreadable, unwritable, full, of another type, interrupted;
and what each prints in a narrow terminal, without colours and as JSON."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import click
import pytest

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.files import save_model
from nanou_deploy.cli import cli
from nanou_deploy.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE
from tests.command_line import Finished, run
from tests.unit.test_sidecar import flatbuffer

COMMANDS = cli.list_commands(None)  # type: ignore[arg-type]
# {} is the file or folder that a command reads.
READS = {
    "init": "--images {} --masks folder",
    "prepare": "--images {} --masks masks --output out",
    "data-check": "--data {}",
    "train": "--data {} --output out",
    "experiment": "--config {}",
    "runs": "{}",
    "evaluate": "--model {}",
    "prune": "--run {} --output out",
    "quantize": "--run {}",
    "calibrate": "--model {} --images folder --masks folder",
    "import": "{} --data folder",
    "inspect": "--model {}",
    "predict": "{}",
    "describe": "{}",
    "card": "--model {}",
    "generate": "--model {} --output out",
    "export": "--format cmake --model {} --output out",
    "build": "--board host --model {}",
    "verify": "--model {}",
    "bench": "--model {}",
    "cost": "{}",
    "search": "--run {} --output out",
    "pareto": "{} --output out",
    "fit": "{} --board host",
    "flash": "--board esp32s3 --project {}",
    "run": "--board host --model {}",
    "monitor": "--port /dev/null --frames {}",
    "capture": "--port {} --timeout 0.1 --output out",
    "label-assist": "{} --output out",
    "bench-train": "--data {}",
    "model-size": "{}",
    "migrate-config": "{} --output new.yaml",
    "clean": "{}",
}
NOTHING_TO_READ = {"demo", "boards", "doctor", "up"}
# {} is what a command writes; all write to stdout as well.
WRITES = {
    "demo": "--output {}",
    "prepare": "--images images --masks masks --output {}",
    "train": "--output {}",
    "experiment": "--experiment default --output {}",
    "evaluate": "--model small.tflite --output {}",
    "prune": "--run run --output {}",
    "quantize": "--run run --output {}",
    "calibrate": "--model small.tflite --images images --masks masks --output {}",
    "import": "file --data folder --output {}",
    "predict": "picture.png --output {}",
    "card": "--model small.tflite --output {}",
    "generate": "--model small.tflite --output {}",
    "export": "--format cmake --model small.tflite --output {}",
    "build": "--board host --model small.tflite --output {}",
    "bench": "--compare --markdown {}",
    "search": "--run run --output {}",
    "pareto": "run --output {}",
    "capture": "--port /dev/null --output {}",
    "label-assist": "folder --output {}",
    "migrate-config": "old.yaml --output {}",
}
# What they write at a place that no option names: the words, and that place.
BESIDE = {
    "describe": ("small.tflite --threshold 0.4", "small.json"),
    "init": ("--yes --images folder --masks folder", "nanou.toml"),
    "run": ("--board host --model small.tflite --limit 1 --plain", "build"),
    "up": ("", "build"),
}
WRITES_NOTHING = {
    "data-check", "runs", "inspect", "verify", "cost", "fit", "flash", "monitor", "bench-train", "model-size", "boards",
    "doctor", "clean",
}  # fmt: skip
PROJECT = 'board = "host"\nmodel = "small.tflite"\n'
# In a terminal, with a result, for those that need no more than moments.
SHOWS = {
    "boards": "",
    "inspect": "--model small.tflite",
    "experiment": "--list",
    "model-size": "nano_u",
    "describe": "small.tflite --dry-run",
    "clean": "",
    "runs": "folder",
    "up": "--dry-run",
    "generate": "--model small.tflite --output lib",
    "export": "--model small.tflite --format cmake --output lib",
}


class Terminal(io.StringIO):
    """What `isatty` is true of."""

    def isatty(self) -> bool:
        return True


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Closed(io.StringIO):
    """A pipe whose other end is gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    save_model(QuantizedModel("small", flatbuffer(), segmentation(Preprocessing(6, 8))), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    for path in (model, model.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    (tmp_path / "file").write_text("neither a model nor anything else\n")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    return tmp_path


def arguments(command: str, template: str, name: str) -> list[str]:
    return [command, *(word.format(name) for word in template.split())]


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def check_error(done: Finished, *codes: int) -> None:
    assert done.returncode in codes, done
    head = "interrupted" if EXIT_INTERRUPTED in codes else "error: "
    assert done.stderr.splitlines()[-2 if "\ntry: " in done.stderr else -1].startswith(head), done.stderr
    assert done.stdout == ""


def test_every_command_has_its_row() -> None:
    assert READS.keys() | NOTHING_TO_READ == set(COMMANDS)
    assert not READS.keys() & NOTHING_TO_READ
    assert WRITES.keys() | BESIDE.keys() | WRITES_NOTHING == set(COMMANDS)
    assert len(WRITES) + len(BESIDE) + len(WRITES_NOTHING) == len(COMMANDS)
    assert SHOWS.keys() <= set(COMMANDS)


# ---- Trouble ---------------------------------------------------------------------------------------------------


LONG = "x" * 300


@pytest.mark.parametrize("name", ["missing", "loop", "file", LONG], ids=lambda name: name[:10])
@pytest.mark.parametrize("command", READS)
def test_what_is_missing_unreadable_or_of_another_type(folder: Path, command: str, name: str) -> None:
    """A link to itself cannot be read by root either."""
    if command in ("flash", "monitor", "prepare", "data-check", "runs") and name == "file":
        name = "small.tflite"  # a file where a folder is meant
    before = sorted(path.name for path in folder.iterdir())
    done = run(*arguments(command, READS[command], name), cwd=folder)
    if command == "clean" and name in ("missing", "loop"):
        assert (done.returncode, done.stdout) == (0, f"nothing generated in {name}\n")
    else:
        check_error(done, EXIT_ERROR, EXIT_USAGE)
        assert name in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_written(folder: Path, command: str) -> None:
    """Below a file; and where a command writes nothing but stdout, a pipe that nobody reads."""
    if command in WRITES:
        done = run(*arguments(command, WRITES[command], "file/below"), cwd=folder)
        check_error(done, EXIT_ERROR)
        assert "file/below" in done.stderr
    elif command in BESIDE:
        words, place = BESIDE[command]
        _project(command, folder)
        (folder / place).unlink(missing_ok=True)
        if place == "build":
            (folder / place).write_text("a file where a folder is made")
        else:
            (folder / place).mkdir()
        before = entries(folder)
        done = run(command, *words.split(), cwd=folder)
        check_error(done, EXIT_ERROR)
        assert place in done.stderr
        assert entries(folder) == before
    else:
        done = with_stdout(Closed, command, folder)
        assert (done.returncode, done.stderr) == (EXIT_ERROR, "")


def _project(command: str, folder: Path) -> None:
    if command == "up":
        (folder / "nanou.toml").write_text(PROJECT)


def with_stdout(kind: type[io.StringIO], command: str, folder: Path) -> Finished:
    """Its help, on a stdout that cannot be written; the descriptor of this process stays as it is."""
    with mock.patch("os.dup2"):
        return run(command, "--help", cwd=folder, stream=iter([kind(), io.StringIO()]).__next__)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow: what the kernel says is another number, what a program sees is the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(folder: Path, command: str) -> None:
    if command in WRITES:
        with full_disk():
            done = run(*arguments(command, WRITES[command], "out"), cwd=folder)
        check_error(done, EXIT_ERROR)
        assert "make room there" in done.stderr
        assert not (folder / "out").exists()
    elif command in BESIDE:
        words, place = BESIDE[command]
        _project(command, folder)
        before = entries(folder)
        with full_disk():
            done = run(command, *words.split(), cwd=folder)
        check_error(done, EXIT_ERROR)
        assert f"error: {place}" in done.stderr
        assert "make room there" in done.stderr
        assert entries(folder) == before
    else:
        done = with_stdout(Full, command, folder)
        check_error(done, EXIT_ERROR)
        assert "make room there" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c(folder: Path, command: str) -> None:
    """As soon as a command has begun."""
    template = READS.get(command, WRITES.get(command, ""))
    interrupted = mock.patch.object(click.Command, "invoke", side_effect=KeyboardInterrupt)
    with interrupted:
        done = run(*arguments(command, template, "folder"), cwd=folder)
    check_error(done, EXIT_INTERRUPTED)
    with interrupted:
        done = run(*arguments(command, template, "folder"), "--json", cwd=folder)
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (EXIT_INTERRUPTED, EXIT_INTERRUPTED)


# ---- What is printed -------------------------------------------------------------------------------------------


def shown(folder: Path, command: str, **environment: str) -> Finished:
    """In a terminal: a result where that takes moments, else an error."""
    template = SHOWS.get(command, READS.get(command, "--nonsense"))
    _project(command, folder)
    shutil.rmtree(folder / "lib", ignore_errors=True)
    return run(*arguments(command, template, "missing"), cwd=folder, stream=Terminal, **environment)


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_narrow_terminals(folder: Path, command: str, columns: int) -> None:
    """No line is longer, but for a single word; and no number that a wide terminal shows is broken."""
    narrow = shown(folder, command, COLUMNS=str(columns), NO_COLOR="1")
    wide = shown(folder, command, COLUMNS="1000", NO_COLOR="1")
    for line in narrow.stdout.splitlines():
        assert len(line) <= columns or len(line.split()) <= 2, line
    numbers = [re.findall(r"[\d,.]*\d", one.stdout) for one in (narrow, wide)]
    assert sorted(numbers[0]) == sorted(numbers[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_no_color(folder: Path, command: str) -> None:
    """Cursors may move; words have no colour, and are the same."""
    plain, coloured, dumb = (
        done.stdout + done.stderr
        for done in (
            shown(folder, command, NO_COLOR="1", TERM="xterm"),
            shown(folder, command, NO_COLOR="", TERM="xterm"),
            shown(folder, command, NO_COLOR="", TERM="dumb"),
        )
    )
    assert not re.search(r"\x1b\[[\d;]*m", plain + dumb)
    assert "\x1b[" in coloured or "error" not in coloured
    words = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).split() for text in (plain, coloured, dumb)]
    assert words[0][-6:] == words[1][-6:] == words[2][-6:]  # a bar's before that is drawn otherwise


@pytest.mark.parametrize("command", COMMANDS)
def test_errors_as_json(folder: Path, command: str) -> None:
    """One object on stdout that has the exit code, of wrong usage too; the words on stderr besides."""
    for words in (arguments(command, READS.get(command, "--nonsense"), "missing"), [command, "--nonsense"]):
        done = run(*words, "--json", cwd=folder)
        document = json.loads(done.stdout)
        if command == "clean" and done.returncode == 0:
            assert document["removed"] == []
            continue
        assert document["schema"] == "nanou-deploy/error/1"
        assert (document["exit_code"], document["error"] in done.stderr) == (done.returncode, True)
    assert done.returncode == EXIT_USAGE
