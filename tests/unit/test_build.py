"""Building the harness: what is counted, what is refused, and that its C is clean under strict warnings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder
from tests.unit.invert_model import make_library

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-fsyntax-only"]
RV32 = ["-march=rv32imc", "-mabi=ilp32"]


def test_rv32_build_counts_the_model_alone(require_tool: Callable[..., str], tmp_path: Path) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    build = build_harness(make_library(tmp_path / "lib"), find_board("rv32-qemu"), tmp_path / "work")
    assert build.runtime == "aot"
    assert 100 < build.code_bytes < 400  # a few small functions
    assert 100 < build.table_bytes < 350  # weights, description, strings
    assert build.flash_bytes > build.code_bytes  # the harness comes on top
    assert build.sections[".bss"] >= 192  # the arena
    assert "riscv" in build.compiler
    assert "-march=rv32imc" in build.flags


def test_builds_are_repeatable(require_tool: Callable[..., str], tmp_path: Path) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    library = make_library(tmp_path / "lib")
    images = [build_harness(library, find_board("rv32-qemu"), tmp_path / n).elf.read_bytes() for n in ("a", "b")]
    assert images[0] == images[1]


@pytest.mark.parametrize("name", ["-fplugin=evil", "@options", "-o"])
def test_no_folder_s_name_is_an_option(
    require_tool: Callable[..., str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    library = make_library(tmp_path / "lib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "options").write_text("-include /etc/hostname\n")
    assert build_harness(library, find_board("rv32-qemu"), Path(name)).elf.is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"lib", "options", name}


def test_folders_without_a_library_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="not a generated model library"):
        build_harness(tmp_path, find_board("host"), tmp_path / "work")


def test_tflm_libraries_are_refused(tmp_path: Path) -> None:
    library = make_library(tmp_path / "lib")
    (library / "src" / "invert.cc").touch()
    with pytest.raises(DeployError, match="aot runtime only"):
        build_harness(library, find_board("host"), tmp_path / "work")


def test_hardware_is_refused_with_the_board_that_stands_in(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as error:
        build_harness(make_library(tmp_path / "lib"), find_board("esp32s3"), tmp_path / "work")
    assert "esp32s3-qemu" in error.value.hint


def test_sanitizers_are_for_the_host(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="sanitizers"):
        build_harness(make_library(tmp_path / "lib"), find_board("rv32-qemu"), tmp_path / "work", sanitize=True)


def test_compiler_messages_reach_the_user(require_tool: Callable[..., str], tmp_path: Path) -> None:
    require_tool("gcc", "clang")
    with pytest.raises(DeployError, match="not_declared_anywhere"):
        build_harness(make_library(tmp_path / "lib", "not_declared_anywhere++;"), find_board("host"), tmp_path / "work")


@pytest.mark.parametrize("trace", [[], ["-DNANOU_TRACE"]], ids=["plain", "traced"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_host_harness_has_no_warnings(
    compiler: str, trace: list[str], require_tool: Callable[..., str], tmp_path: Path
) -> None:
    library = make_library(tmp_path / "lib")
    host = firmware_folder() / "host"
    includes = [f"-I{library}/include", f"-I{library}/app", f"-I{host}", f"-I{host.parent}/app"]
    own = [host / name for name in ("harness.c", "cores_threads.c", "target_files.c")]
    sources = [*own, *(library / "src").glob("*.c")]
    command = [require_tool(compiler), *STRICT, "-DNANOU_THREADS", *trace, *includes, *sources]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    ("compiler", "flags", "machine"),
    [
        ("riscv64-unknown-elf-gcc", [*RV32, "-DNANOU_COUNT_CSR=minstret"], "semihost.c"),
        (
            "riscv64-unknown-elf-gcc",
            [*RV32, "-DNANOU_COUNT_CSR=mcycle", "-DNANOU_UART_BASE=1u"],
            "uart.c",
        ),
        ("riscv64-unknown-elf-gcc", [*RV32, "-DNANOU_COUNT_MARKS"], "semihost.c"),
        ("arm-none-eabi-gcc", ["-mcpu=cortex-m4", "-mthumb", "-DNANOU_COUNT_MARKS"], "semihost.c"),
    ],
)
def test_bare_harness_has_no_warnings(
    compiler: str,
    flags: list[str],
    machine: str,
    require_tool: Callable[..., str],
    tmp_path: Path,
) -> None:
    library = make_library(tmp_path / "lib")
    host = firmware_folder() / "host"
    folders = [library / "include", library / "app", host, host / "bare" / "include", host.parent / "app"]
    includes = [f"-I{folder}" for folder in folders]
    sources = [host / "harness.c", *(host / "bare" / name for name in ("memory.c", "trap.c", machine))]
    command = [require_tool(compiler), *STRICT, *flags, "-ffreestanding", "-O2", *includes, *sources]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("plugin", ["count", "profile"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_plugins_have_no_warnings(compiler: str, plugin: str, require_tool: Callable[..., str]) -> None:
    source = firmware_folder() / "host" / "plugin" / f"{plugin}.c"
    subprocess.run([require_tool(compiler), *STRICT, "-fPIC", "-DPLUGIN_VERSION=1", source], check=True)
