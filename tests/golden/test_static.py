"""What compilers and cppcheck say of generated C: nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.generated import MODELS, compiled, write_library

REPOSITORY = Path(__file__).resolve().parents[2]
# For compilers without a C library.
BARE = ("-ffreestanding", "-fbuiltin", f"-I{REPOSITORY / 'firmware' / 'host' / 'bare' / 'include'}")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-O2")
BUILT_RIGHT = ("-DNANOU_FLAGS_SET",)
COMPILERS = {
    "gcc": ("x86_64", ("gcc",), ()),
    "clang": ("x86_64", ("clang", "clang-22"), ()),
    "rv32": ("rv32", ("riscv64-unknown-elf-gcc",), ("-march=rv32imc", "-mabi=ilp32", *BARE)),
    "cortex-m0": ("armv6-m", ("arm-none-eabi-gcc",), ("-mcpu=cortex-m0plus", "-mthumb", *BARE)),
    "cortex-m4": ("armv7e-m", ("arm-none-eabi-gcc",), ("-mcpu=cortex-m4", "-mthumb", *BARE)),
}
CPPCHECK = (
    "--std=c99",
    "--enable=warning,performance,portability",
    "--error-exitcode=1",
    # Sign bits are found by an arithmetic shift, which all these compilers have; the golden self-test would notice.
    "--suppress=shiftTooManyBitsSigned",
)


def run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("name", COMPILERS)
def test_compilers_have_nothing_to_say(name: str, which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    isa, programs, flags = COMPILERS[name]
    compiler = require_tool(*programs)
    library = write_library(compiled(which, isa), tmp_path)
    for source in sorted((library / "src").glob("*.c")):
        run([compiler, *STRICT, *BUILT_RIGHT, *flags, f"-I{library / 'include'}", "-c", source, "-o", "/dev/null"])


@pytest.mark.parametrize("name", ["gcc", "rv32", "cortex-m4"])
def test_gcc_says_what_missing_flags_cost(name: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """As a message and not as an error, since Arduino cannot set flags."""
    isa, programs, flags = COMPILERS[name]
    library = write_library(compiled("u_net", isa), tmp_path)
    command = [require_tool(*programs), *STRICT, *flags, f"-I{library / 'include'}"]
    source = library / "src" / "sample.c"
    done = subprocess.run([*command, "-c", source, "-o", "/dev/null"], capture_output=True, text=True, check=True)
    assert "-O2 -fno-schedule-insns -DNANOU_FLAGS_SET" in done.stderr
    assert "9 % more instructions on RISC-V" in done.stderr


def test_clang_needs_no_flags(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    library = write_library(compiled("u_net"), tmp_path)
    source = library / "src" / "sample.c"
    run([require_tool("clang", "clang-22"), *STRICT, f"-I{library / 'include'}", "-c", source, "-o", "/dev/null"])


@pytest.mark.parametrize("which", MODELS)
def test_cppcheck_has_nothing_to_say(which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """*_traced.c is the model with NANOU_TRACED, one of the configurations of it that are checked anyway."""
    cppcheck = require_tool("cppcheck")
    library = write_library(compiled(which), tmp_path)
    traced, *sources = sorted((library / "src").glob("*.c"), key=lambda path: not path.name.endswith("_traced.c"))
    assert re.search(r'^#define NANOU_TRACED\n#include "\w+\.c"\n\Z', traced.read_text(), re.MULTILINE)
    command = list(map(str, [cppcheck, *CPPCHECK, f"-I{library / 'include'}", *sources]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{traced.name.removesuffix('_traced.c')}.c: NANOU_TRACED..." in done.stdout
