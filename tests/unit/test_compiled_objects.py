"""Tests share objects (tests/compiled_objects.py), and none that another source, header or command would not give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanou_deploy.build.build import compile_source
from nanou_deploy.build.machines import Driver
from nanou_deploy.build.programs import CompileStep
from nanou_deploy.build.toolchain import find_host_compiler
from tests.compiled_objects import CompiledObjects

HEADER = "#include <inner/value.h>\n"


@dataclass
class Compiling:
    """Compiles sources that include headers by two folders, in a place of their own each, and counts how often."""

    root: Path
    count: int = 0

    def __post_init__(self) -> None:
        self.root.mkdir()
        (self.root / "kept").mkdir()
        self.objects = CompiledObjects(self.root / "kept", self._compile)

    def _compile(self, step: CompileStep, *, of_user: bool = False) -> None:
        self.count += 1
        compile_source(step, of_user=of_user)

    def __call__(self, place: str, *flags: str, value: str = "1", first: str = "", of_user: bool = False) -> bytes:
        folder = self.root / place
        (folder / "b" / "inner").mkdir(parents=True)
        (folder / "a" / "inner").mkdir(parents=True)
        (folder / "made").mkdir()
        (folder / "b" / "value.h").write_text(HEADER)
        (folder / "b" / "inner" / "value.h").write_text(f"#define VALUE {value}\n")
        if first:
            (folder / "a" / "inner" / "value.h").write_text(f"#define VALUE {first}\n")
        source, target = folder / "main.c", folder / "made" / "main.o"
        source.write_text('#include "value.h"\nint value(void) { return VALUE; }\n')
        includes = (folder / "a", folder / "b")
        words = ("-O2", *flags, *(f"-I{path}" for path in includes))
        commands = Driver(find_host_compiler()).compile_commands(words, source, target)
        self.objects(CompileStep(source, target, tuple(commands), includes), of_user=of_user)
        assert not Path(find_host_compiler().command[0]).name.endswith("gcc") or target.with_suffix(".su").is_file()
        return target.read_bytes()


@pytest.fixture
def compiling(tmp_path: Path, require_tool: Callable[..., str]) -> Compiling:
    require_tool("gcc", "clang", "cc")
    return Compiling(tmp_path / "place with a space")


def test_the_same_is_compiled_once_wherever_it_lies(compiling: Compiling) -> None:
    assert compiling("one") == compiling("two")
    assert compiling.count == 1


def test_what_differs_is_compiled(compiling: Compiling) -> None:
    objects = [
        compiling("one"),
        compiling("header", value="2"),
        compiling("flag", "-fno-builtin", "-DVALUE_IS=3", value="3"),
        compiling("another header comes first", first="4"),
    ]
    assert compiling.count == len(set(objects)) == 4


def test_neither_places_in_debug_information_nor_users_files_are_shared(compiling: Compiling) -> None:
    for place in ("one", "two"):
        compiling(place, "-g1")
        compiling(f"user's {place}", of_user=True)
    assert compiling.count == 4
