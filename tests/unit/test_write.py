"""Generated folders: whole or not at all, and nobody's work lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from codegen.errors import WriteError
from codegen.library.render import RenderedProject, with_manifest
from codegen.library.write import edited_files, write_project


def project(version: int, count: int = 3) -> RenderedProject:
    return with_manifest({f"src/file_{i}.c": f"/* version {version} */\n" * 50 for i in range(count)}, {"model": "m"})


def test_writes_once_and_then_nothing(tmp_path: Path) -> None:
    target = tmp_path / "library"
    assert write_project(project(1), target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert not write_project(project(1), target)
    assert before == {path: path.stat().st_mtime_ns for path in target.rglob("*")}


def test_replaces_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "library"
    write_project(project(1, count=5), target)
    assert write_project(project(2, count=2), target)
    assert sorted(p.name for p in target.rglob("*.c")) == ["file_0.c", "file_1.c"]
    assert edited_files(target) == ()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("change", ["edit", "add", "foreign"])
def test_keeps_what_others_wrote(change: str, tmp_path: Path) -> None:
    target = tmp_path / "library"
    if change == "foreign":
        target.mkdir()
    else:
        write_project(project(1), target)
    mine = target / ("src/file_1.c" if change == "edit" else "notes.txt")
    mine.write_text("mine")
    with pytest.raises(WriteError, match=mine.name):
        write_project(project(2), target)
    assert mine.read_text() == "mine"
    assert write_project(project(2), target, force=True)
    assert edited_files(target) == ()


def test_build_products_survive(tmp_path: Path) -> None:
    target = tmp_path / "firmware"
    write_project(project(1), target)
    (target / ".pio" / "build").mkdir(parents=True)
    (target / ".pio" / "build" / "firmware.elf").write_text("elf")
    (target / "sdkconfig.esp32s3").write_text("CONFIG=y")
    assert write_project(project(2), target)
    assert (target / ".pio" / "build" / "firmware.elf").read_text() == "elf"
    assert (target / "sdkconfig.esp32s3").exists()
    assert not write_project(project(2), target)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "library").write_text("a file")
    with pytest.raises(WriteError, match="is a file"):
        write_project(project(1), tmp_path / "library")


WRITER = """
    import itertools, os, pathlib, sys
    sys.path.insert(0, sys.argv[2])
    from tests.unit.test_write import project
    from codegen.library.write import write_project
    for _ in sys.stdin:  # one writer for each line: what it imports takes longer than all that it writes
        if child := os.fork():
            os.waitpid(child, 0)
            print("ended", flush=True)
            continue
        for version in itertools.count(1):
            write_project(project(version, count=8), pathlib.Path(sys.argv[1]))
            if version == 1:
                print(os.getpid(), flush=True)
"""


def test_kill_9_leaves_one_version(tmp_path: Path) -> None:
    """Kill a process that rewrites the folder without pause, at many moments; then look."""
    target = tmp_path / "library"
    repository = Path(__file__).parents[2]
    program = [sys.executable, "-c", textwrap.dedent(WRITER), str(target), str(repository)]
    with subprocess.Popen(
        program, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for round_number in range(12):
            writers.stdin.write("another\n")
            writer = int(writers.stdout.readline())
            time.sleep(0.01 + 0.007 * round_number)
            os.kill(writer, signal.SIGKILL)
            assert writers.stdout.readline() == "ended\n"
            assert edited_files(target) == (), "the manifest and the files belong together"
            versions = {path.read_text().splitlines()[0] for path in target.rglob("*.c")}
            assert len(versions) == 1
    write_project(project(0), target)
    assert list(tmp_path.iterdir()) == [target], "leftovers of killed writers are swept"
