"""Killed, or on a full disk, at every single write: what is there afterwards is the old or the new, never a mixture.

An audit hook sees each write before it happens. From the chosen one on nothing is written any more, and nothing cleaned
up either (a kill), or nothing new can be made (a full disk).
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import codegen.library.write as writing
from codegen.errors import CodegenError
from codegen.graph.model import Preprocessing
from codegen.library.render import RenderedProject
from nanou_deploy.build.library import open_model
from nanou_train.data.prepare import PrepareSpec, prepare
from nanou_train.data.sources import MaskFolders
from nanou_train.errors import TrainError
from nanou_train.runs.int8_model import load_int8, save_int8
from nanou_train.runs.run_folder import read_manifest, start_run, write_manifest
from tests.train.picture_files import write_drives

WRITES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "exchange"}
MAKES = {"os.link", "os.mkdir"}
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Killed(BaseException):
    """Nothing catches it, and whoever cleans up meets it again."""


class _Disk:
    """Counts writes below a folder, and ends them from one on."""

    def __init__(self) -> None:
        self.place, self.kind, self.last, self.count = "", "", 0, 0

    def saw(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.kind or not self._is_write(event, arguments):
            return
        self.count += 1
        if self.count <= self.last:
            return
        if self.kind == "killed":
            raise Killed
        if event == "open" or event in MAKES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITING_FLAGS) or any(letter in (mode or "") for letter in "wax+")
            return writes and str(path).startswith(self.place)
        return event in WRITES and str(arguments[0]).startswith(self.place)

    def during(self, kind: str, last: int, place: Path, work: Callable[[], object]) -> BaseException | None:
        self.place, self.kind, self.last, self.count = str(place), kind, last, 0
        try:
            work()
        except (Killed, TrainError, CodegenError, OSError) as error:
            return error
        except Exception as error:  # what a library says that meets its own kill, which a process never does
            if kind == "killed" and self.count > last:
                return error
            raise
        finally:
            self.kind = ""
        return None


DISK = _Disk()
sys.addaudithook(DISK.saw)


@pytest.fixture(autouse=True)
def _exchange_is_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system call that exchanges two folders is no audit event."""
    real = writing._exchange

    def exchange(staging: Path, target: Path) -> None:
        DISK.saw("exchange", (str(target),))
        real(staging, target)

    monkeypatch.setattr(writing, "_exchange", exchange)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def at_every_write(
    kind: str, folder: Path, work: Callable[[], object], state: Callable[[], object], *, step: int = 1
) -> None:
    """Do `work` in `folder`, ended at each write; `state` reads what is there, and may be the old or the new one.

    With `step` at one in so many, the first and the last ones among them.
    """
    kept = folder.with_name(f"{folder.name}_kept")
    shutil.copytree(folder, kept)
    old = state()
    assert DISK.during("counted", 10**9, folder, work) is None
    writes, new = DISK.count, state()
    assert writes > 3
    assert new != old
    seen = set()
    for last in sorted({*range(0, writes, step), writes - 2, writes - 1}):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        error = DISK.during(kind, last, folder, work)
        found = state()
        assert found in (old, new), (kind, last)
        seen.add(found == new)
        if kind == "full" and error is not None:
            assert [path.name for path in folder.rglob(".*") if path.is_file()] == [], last
    assert DISK.during("counted", 10**9, folder, work) is None  # the same command goes on
    assert state() == new
    assert False in seen


KINDS = pytest.mark.parametrize("kind", ["killed", "full"])


@KINDS
def test_prepare(kind: str, tmp_path: Path) -> None:
    write_drives(tmp_path / "raw", drives=3, frames=1, size=(24, 32))
    folder = tmp_path / "work"
    spec = PrepareSpec(
        MaskFolders(tmp_path / "raw/images", tmp_path / "raw/masks"),
        folder / "data",
        group_by=r"^drive\d",
        contract=Preprocessing(12, 16),
    )
    prepare(spec)
    at_every_write(kind, folder, lambda: prepare(replace(spec, seed=5)), lambda: content(folder / "data"))


@KINDS
def test_quantize(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    facts = {"weights": {"student": "s"}, "metrics": {}, "data": {"train": {"sha256": ""}}, "status": "completed"}
    write_manifest(folder, facts)
    old = replace(open_model(None), name="old", provenance={"weights": {"student": "s"}})
    save_int8(folder, old)
    at_every_write(kind, folder, lambda: save_int8(folder, replace(old, name="new")), lambda: content(folder / "model"))
    assert load_int8(folder).name == "new"


@KINDS
def test_generate_export_and_build(kind: str, tmp_path: Path) -> None:
    """All three put a rendered project in place by `write_project`."""
    small = RenderedProject({f"src/{name}.c": name for name in "abc"})
    folder = tmp_path / "work"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "old.c").write_text("old")
    write = lambda: writing.write_project(small, folder / "lib", force=True)  # noqa: E731
    at_every_write(kind, folder, write, lambda: content(folder / "lib"))


@KINDS
def test_the_end_of_a_training(kind: str, tmp_path: Path, require_module: Callable[[str], None]) -> None:
    """What `train`, each round of `prune` and each point of `search` leave: a run is complete, or it is none."""
    require_module("tensorflow")
    from nanou_train.experiments.keys import as_config
    from nanou_train.networks.architectures import create_nano_u
    from nanou_train.runs.run_folder import load_student
    from nanou_train.training.train import _finish
    from nanou_train.training.train_network import History

    folder, student = tmp_path / "work", create_nano_u((12, 16, 3), [4], 4)
    facts: dict[str, Any] = {"seed": 0, "data": {"train": {"sha256": ""}}}
    start_run(folder, facts)
    history = History(({"epoch": 1.0, "val_miou": 0.5},), 1)

    def finish() -> None:
        _finish(folder, facts, as_config({}), {"student": student}, {"student": history}, {"student": {"miou": 0.5}})

    def state() -> object:
        try:
            load_student(folder)
            return read_manifest(folder), (folder / "metrics.json").read_text(), (folder / "metrics.csv").read_text()
        except TrainError as error:
            return str(error)

    at_every_write(kind, folder, finish, state)
