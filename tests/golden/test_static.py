"""What compilers and cppcheck say of generated C: nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from codegen.render import render_aot
from tests.exactness import compile_bytes
from tests.generated import MODELS, compiled, write_library
from tests.property.test_random_graphs import graphs

REPOSITORY = Path(__file__).resolve().parents[2]
# For compilers without a C library.
BARE = ("-ffreestanding", "-fbuiltin", f"-I{REPOSITORY / 'firmware' / 'host' / 'bare' / 'include'}")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-O2")
COMPILERS = {
    "gcc": ("x86_64", ("gcc",), ()),
    "clang": ("x86_64", ("clang", "clang-22"), ()),
    "rv32": ("rv32", ("riscv64-unknown-elf-gcc",), ("-march=rv32imc", "-mabi=ilp32", *BARE)),
    "cortex-m4": ("arm", ("arm-none-eabi-gcc",), ("-mcpu=cortex-m4", "-mthumb", *BARE)),
}
CPPCHECK = (
    "--std=c99",
    "--enable=warning,performance,portability",
    "--error-exitcode=1",
    # Sign bits are found by an arithmetic shift, which all these compilers have; the golden self-test would notice.
    "--suppress=shiftTooManyBitsSigned",
    "--quiet",
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
        run([compiler, *STRICT, *flags, f"-I{library / 'include'}", "-c", source, "-o", "/dev/null"])


@pytest.mark.parametrize("which", MODELS)
def test_cppcheck_has_nothing_to_say(which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    cppcheck = require_tool("cppcheck")
    library = write_library(compiled(which), tmp_path)
    run([cppcheck, *CPPCHECK, f"-I{library / 'include'}", library / "src"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(graphs())
def test_random_graphs_compile_cleanly(tmp_path: Path, require_tool: Callable[..., str], flatbuffer: bytes) -> None:
    files = render_aot(compile_bytes(flatbuffer)).files
    for name, text in files.items():
        (tmp_path / Path(name).name).write_text(text)
    run([require_tool("gcc"), *STRICT, f"-I{tmp_path}", "-fsyntax-only", *sorted(tmp_path.glob("*.c"))])
