"""Compile a generated model library together with the verification harness, for this machine or an emulated one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy import elf
from nanou_deploy.boards import Board
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder
from nanou_deploy.toolchain import Tool, find_host_compiler, find_rv32_compiler, find_sanitizing_compiler

COMPILE_TIMEOUT_S = 600

_WARNINGS = ("-std=c99", "-Wall", "-Wextra")
_OPTIMIZE = ("-O2", "-ffunction-sections", "-fdata-sections")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
# Freestanding, because there is no C library; -fbuiltin lets memcpy of a few known bytes become plain stores.
_RV32 = ("-march=rv32imc", "-mabi=ilp32", "-ffreestanding", "-fbuiltin")
_RV32_ZIG = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c", "-ffreestanding", "-fno-sanitize=all")
_RV32_SOURCES = ("harness.c", "rv32/start.S", "rv32/trap.c", "rv32/memory.c")


@dataclass(frozen=True)
class Build:
    """A linked program and what it costs.

    `code_bytes` and `table_bytes` (constants) count the model library's own objects, before the linker drops
    what is unused. `flash_bytes` and `ram_bytes` are of the whole program: everything with contents, everything
    writable. `sections` are the program's, by name, in bytes. Traced builds record every operator's output.
    """

    board: str
    runtime: str
    elf: Path
    code_bytes: int
    table_bytes: int
    flash_bytes: int
    ram_bytes: int
    compiler: str
    flags: tuple[str, ...]
    sections: Mapping[str, int]
    trace: bool = False
    sanitize: bool = False


@dataclass(frozen=True)
class _Target:
    """How to compile for one board: `flags` for everything, `harness_flags` and `link_flags` in addition."""

    compiler: Tool
    flags: tuple[str, ...]
    harness_sources: tuple[str, ...]  # relative to firmware/host
    harness_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()


def library_runtime(library: Path) -> str:
    """ "aot" or "tflm", by what the generated library contains. Raises DeployError if it is no such library."""
    if not (library / "include" / "nanou_model.h").is_file():
        raise DeployError(f"{library} is not a generated model library", hint="make one with `nanou-deploy generate`")
    return "tflm" if any((library / "src").glob("*.cc")) else "aot"


def build_harness(
    library: Path,
    board: Board,
    work_dir: Path,
    *,
    trace: bool = False,
    sanitize: bool = False,
    compiler: str | None = None,
) -> Build:
    """Compile `library` (aot runtime) and the harness for a board that runs here, into `work_dir`.

    `trace` makes the program record every operator's output. `sanitize` (host only) adds AddressSanitizer and
    UBSan. `compiler` overrides the one that `toolchain` finds. Raises DeployError with the compiler's words,
    ToolMissing where there is no compiler.
    """
    if library_runtime(library) != "aot":
        raise DeployError(
            "the harness links the aot runtime only", hint="tflm models are run by the tflite-micro package instead"
        )
    work_dir.mkdir(parents=True, exist_ok=True)
    target = _find_target(board, sanitize, compiler, work_dir)
    defines = ("-DNANOU_TRACE",) if trace else ()
    flags = (*_WARNINGS, *target.flags, *defines)
    host = firmware_folder() / "host"
    includes = [f"-I{library.resolve() / 'include'}"]
    if board.kind != "host":
        includes.append(f"-I{host / 'rv32' / 'include'}")
    command = [*target.compiler.command, *flags, *includes]

    model_sources = sorted((library / "src").resolve().glob("*.c"))
    model = _compile(command, model_sources, work_dir / "model")
    harness_command = [*command, f"-I{host}", *target.harness_flags]
    harness = _compile(harness_command, [host / name for name in target.harness_sources], work_dir / "harness")
    program = work_dir / "harness.elf"
    _run_compiler([*target.compiler.command, *flags, *map(str, [*harness, *model]), *target.link_flags, "-o", program])

    model_sections = [section for path in model for section in elf.read_sections(path)]
    sections = elf.read_sections(program)
    return Build(
        board=board.name,
        runtime="aot",
        elf=program,
        code_bytes=elf.code_bytes(model_sections),
        table_bytes=elf.table_bytes(model_sections),
        flash_bytes=elf.flash_bytes(sections),
        ram_bytes=elf.ram_bytes(sections),
        compiler=target.compiler.version,
        flags=flags,
        sections={section.name: section.size_bytes for section in sections},
        trace=trace,
        sanitize=sanitize,
    )


def _find_target(board: Board, sanitize: bool, compiler: str | None, work_dir: Path) -> _Target:
    if board.kind == "host":
        tool = find_sanitizing_compiler(compiler) if sanitize else find_host_compiler(compiler)
        return _Target(tool, _SANITIZE if sanitize else _OPTIMIZE, ("harness.c", "target_files.c"))
    if not board.runs_here:
        raise DeployError(
            f"{board.name} is hardware: the harness does not run there",
            hint=f"verify on {board.emulated_as}; build the firmware with `nanou-deploy build --board {board.name}`",
        )
    if sanitize:
        raise DeployError("sanitizers need an operating system", hint="use --board host")
    tool = find_rv32_compiler(compiler)
    machine, counter, memory = (
        ("semihost.c", "minstret", "virt.ld") if board.kind == "qemu" else ("esp32c3.c", "mcycle", "esp32c3.ld")
    )
    return _Target(
        compiler=tool,
        flags=(*(_RV32_ZIG if tool.is_zig else _RV32), *_OPTIMIZE),
        harness_sources=(*_RV32_SOURCES, f"rv32/{machine}"),
        # memory.c defines memcpy; without -fno-builtin its loops would be compiled into calls of itself.
        harness_flags=("-fno-builtin", f"-DNANOU_INSTRUCTION_CSR={counter}"),
        link_flags=(
            "-nostdlib",
            "-static",
            f"-Wl,-T,{_write_link_script(memory, work_dir)}",
            "-Wl,--gc-sections",
            *(() if tool.is_zig else ("-lgcc",)),
        ),
    )


def _write_link_script(memory: str, work_dir: Path) -> Path:
    """The machine's memory map and the sections, in one file: not every linker knows where to look for a second."""
    rv32 = firmware_folder() / "host" / "rv32"
    script = work_dir / "link.ld"
    script.write_text("\n".join((rv32 / name).read_text() for name in (memory, "sections.ld")))
    return script


def _compile(command: Sequence[str], sources: Sequence[Path], folder: Path) -> list[Path]:
    """One object for each source, in a folder that holds nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    objects = [folder / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda pair: _run_compiler([*command, "-c", *pair]), _pairs(sources, objects)))
    return objects


def _pairs(sources: Sequence[Path], objects: Sequence[Path]) -> list[tuple[str, ...]]:
    return [(str(source), "-o", str(path)) for source, path in zip(sources, objects, strict=True)]


def _run_compiler(command: Sequence[str | Path]) -> None:
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"the compiler ran for more than {COMPILE_TIMEOUT_S} s", hint="try another one") from error
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise DeployError(f"{command[0]} failed:\n{tail}", hint="the generated library may be damaged: regenerate it")
