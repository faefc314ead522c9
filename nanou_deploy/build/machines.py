"""Choose how code is compiled and linked for each board that runs here: flags, harness sources, memory map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codegen.library.compile_flags import FLAGS_SET, NO_SCHEDULING
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.toolchain import (
    Tool,
    XtensaTools,
    find_arm_compiler,
    find_host_compiler,
    find_rv32_compiler,
    find_sanitizing_compiler,
    find_xtensa_tools,
)
from nanou_deploy.errors import DeployError

Command = list[str]
Flags = tuple[str, ...]

_WARNINGS = ("-std=c99", "-Wall", "-Wextra")
_OPTIMIZE = ("-O2", "-ffunction-sections", "-fdata-sections")
# Not optimized, so that no access is dropped before it is checked, and in a fifth of the time; -g1: reports name lines.
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1", "-O0")
# Freestanding, because there is no C library; -fbuiltin lets memcpy of a few known bytes become plain stores.
_FREESTANDING = ("-ffreestanding", "-fbuiltin")
_RV32 = ("-march=rv32imc", "-mabi=ilp32", *_FREESTANDING)
_RV32_ZIG = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c", "-ffreestanding", "-fno-sanitize=all")
# LLVM's Xtensa backend allows one code section per file, so no -ffunction-sections.
_XTENSA = ("-O2", "-fdata-sections", "-fno-vectorize", "-fomit-frame-pointer", *_FREESTANDING, FLAGS_SET)
# Left to itself, llc turns pointers into base plus index and moves what it reads, for which 16 registers are too few.
_LLC = ("-march=xtensa", "-mcpu=esp32", "-O2", "-disable-lsr", "-pre-RA-sched=source")
# An exception handler may not move register windows: it is compiled for the call0 ABI, without the trapped MULSH.
_LLC_HANDLER = ("-mattr=-windowed,-mul32high",)
_HANDLERS = ("pie_trap.c",)
_EMULATE_PIE = "-DNANOU_EMULATE_PIE"
_BARE_SOURCES = ("bare/trap.c", "bare/memory.c")


def _word(path: Path) -> str:
    """Return a path for a command line: absolute, so that a compiler takes none for an option or a file of options."""
    return str(path.absolute())


class Compiler(Protocol):
    """Command lines that make an object of a source, and a program of objects."""

    @property
    def version(self) -> str: ...
    def compile_commands(self, flags: Flags, source: Path, target: Path) -> list[Command]: ...
    def link_command(self, flags: Flags, objects: list[Path], script: Path | None, program: Path) -> Command: ...


@dataclass(frozen=True)
class Driver:
    """A compiler that, like gcc, takes every kind of source and also links."""

    tool: Tool

    @property
    def version(self) -> str:
        return self.tool.version

    def compile_commands(self, flags: Flags, source: Path, target: Path) -> list[Command]:
        stack = [] if self.tool.is_zig else ["-fstack-usage"]  # read by stack_usage.py
        return [[*self.tool.command, *flags, *stack, "-c", _word(source), "-o", _word(target)]]

    def link_command(self, flags: Flags, objects: list[Path], script: Path | None, program: Path) -> Command:
        bare = ["-nostdlib", "-static", "-Wl,--gc-sections", "-T", _word(script)] if script else []
        library = [] if script is None or self.tool.is_zig else ["-lgcc"]
        return [*self.tool.command, *flags, *map(_word, objects), *bare, *library, "-o", _word(program)]


@dataclass(frozen=True)
class XtensaCompiler:
    """LLVM, whose parts for Xtensa are not joined yet: clang to its intermediate language, which names no processor;
    llc to assembly; llvm-mc to an object."""

    tools: XtensaTools

    @property
    def version(self) -> str:
        return self.tools.clang.version

    def compile_commands(self, flags: Flags, source: Path, target: Path) -> list[Command]:
        assembly, middle = _word(target.with_suffix(".s")), _word(target.with_suffix(".ll"))
        clang = [*self.tools.clang.command, "--target=xtensa", *flags, _word(source)]
        if source.suffix == ".S":
            to_assembly = [[*clang, "-E", "-o", assembly]]
        else:
            handler = _LLC_HANDLER if source.name in _HANDLERS else ()
            llc = [*self.tools.llc.command, *_LLC, *handler, middle, "-o", assembly]
            to_assembly = [[*clang, "-S", "-emit-llvm", "-o", middle], llc]
        assemble = [
            *self.tools.assembler.command,
            "-triple=xtensa",
            "-mcpu=esp32",
            "-filetype=obj",
            assembly,
            "-o",
            _word(target),
        ]
        return [*to_assembly, assemble]

    def link_command(self, flags: Flags, objects: list[Path], script: Path | None, program: Path) -> Command:
        assert script is not None
        options = ["--no-relax", "--gc-sections", "-z", "noexecstack", "--no-warn-rwx-segments", "-T", _word(script)]
        return [*self.tools.linker.command, *options, *map(_word, objects), "-o", _word(program)]


@dataclass(frozen=True)
class Machine:
    """Compiler, flags and sources for one board.

    `flags` are for everything, `harness_flags` in addition for the harness. `machine_sources` and `link_script` (parts,
    in order; none where there is an operating system) are relative to firmware/host. `count_plugin`: instructions are
    counted by firmware/host/plugin in QEMU, for want of a counter that the program could read.
    """

    compiler: Compiler
    flags: Flags
    machine_sources: Flags
    harness_flags: Flags = ()
    link_script: Flags = ()
    count_plugin: bool = False


def find_machine(
    board: Board, *, sanitize: bool = False, profile: bool = False, compiler: str | None = None
) -> Machine:
    """Find how to build for `board`. Raises ToolMissing without a compiler, DeployError where the harness cannot run.

    `profile`: instructions are to be counted one by one, by a plugin even where the program could count them all.
    """
    if profile and board.kind != "qemu":
        raise DeployError(
            f"{board.name} counts instructions, if at all, only as a whole",
            hint=f"use an emulated board: --board {', '.join(name for name in _BARE if name.endswith('-qemu'))}",
        )
    if board.kind == "host":
        tool = find_sanitizing_compiler(compiler) if sanitize else find_host_compiler(compiler)
        flags = (*_WARNINGS, *(_SANITIZE if sanitize else _OPTIMIZE), *model_flags(tool), "-pthread")
        return Machine(Driver(tool), flags, ("target_files.c",), harness_flags=("-DNANOU_THREADS",))
    if not board.runs_here:
        raise DeployError(
            f"{board.name} is hardware: the harness does not run there",
            hint=f"verify on {board.emulated_as}; build the firmware with `nanou-deploy build --board {board.name}`",
        )
    if sanitize:
        raise DeployError("sanitizers need an operating system", hint="use --board host")
    return (_PROFILED if profile else _BARE)[board.name](compiler)


def model_flags(compiler: Tool) -> Flags:
    """Return what generated C is to be compiled with besides -O2."""
    return (NO_SCHEDULING, FLAGS_SET) if compiler.is_gcc else (FLAGS_SET,)


def _bare(
    compiler: Compiler, flags: Flags, sources: Flags, memory: str, *defines: str, count_plugin: bool = False
) -> Machine:
    return Machine(
        compiler=compiler,
        flags=(*_WARNINGS, *flags),
        machine_sources=(*_BARE_SOURCES, *sources),
        # memory.c defines memcpy; without -fno-builtin its loops would be compiled into calls of itself.
        harness_flags=("-fno-builtin", *defines),
        link_script=(memory, "bare/sections.ld"),
        count_plugin=count_plugin,
    )


def _rv32(compiler: str | None, machine: str, memory: str, *defines: str, count_plugin: bool = False) -> Machine:
    tool = find_rv32_compiler(compiler)
    flags = (*(_RV32_ZIG if tool.is_zig else _RV32), *_OPTIMIZE, *model_flags(tool))
    return _bare(Driver(tool), flags, ("rv32/start.S", machine), memory, *defines, count_plugin=count_plugin)


def _arm(compiler: str | None, cpu: str) -> Machine:
    tool = find_arm_compiler(compiler)
    flags = (f"-mcpu={cpu}", "-mthumb", *_FREESTANDING, *_OPTIMIZE, *model_flags(tool))
    sources = ("arm/start.S", "bare/semihost.c")
    return _bare(Driver(tool), flags, sources, "arm/mps2.ld", "-DNANOU_COUNT_MARKS", count_plugin=True)


def _xtensa(machine: str, memory: str, *defines: str, count_plugin: bool = False) -> Machine:
    compiler = XtensaCompiler(find_xtensa_tools())
    sources = ("xtensa/start.S", "xtensa/mul_high.S", "xtensa/arithmetic.c", machine)
    has_vectors = _EMULATE_PIE in defines
    handlers, chip = (("xtensa/pie_trap.c",), ("-DCONFIG_IDF_TARGET_ESP32S3",)) if has_vectors else ((), ())
    return _bare(compiler, (*_XTENSA, *chip), (*sources, *handlers), memory, *defines, count_plugin=count_plugin)


def _xtensa_qemu(*defines: str) -> Machine:
    trapped = ("-DNANOU_COUNT_MARKS", "-DNANOU_EMULATE_MUL_HIGH", *defines)
    return _xtensa("xtensa/simcall.c", "xtensa/sim.ld", *trapped, count_plugin=True)


def _uart(base: int) -> str:
    return f"-DNANOU_UART_BASE={base:#x}u"


_BARE: Mapping[str, Callable[[str | None], Machine]] = {
    "rv32-qemu": lambda compiler: _rv32(compiler, "bare/semihost.c", "rv32/virt.ld", "-DNANOU_COUNT_CSR=minstret"),
    "esp32c3-sim": lambda compiler: _rv32(
        compiler, "bare/uart.c", "rv32/esp32c3.ld", "-DNANOU_COUNT_CSR=mcycle", _uart(0x60000000)
    ),
    "esp32c6-sim": lambda compiler: _rv32(
        compiler, "bare/uart.c", "rv32/esp32c6.ld", "-DNANOU_COUNT_CSR=mcycle", _uart(0x60000000)
    ),
    "cortex-m0-qemu": lambda compiler: _arm(compiler, "cortex-m0plus"),
    "cortex-m4-qemu": lambda compiler: _arm(compiler, "cortex-m4"),
    "cortex-m7-qemu": lambda compiler: _arm(compiler, "cortex-m7"),
    "xtensa-qemu": lambda compiler: _xtensa_qemu(),
    "esp32s3-qemu": lambda compiler: _xtensa_qemu(_EMULATE_PIE),
    "esp32-sim": lambda compiler: _xtensa("bare/uart.c", "xtensa/esp32.ld", "-DNANOU_COUNT_CCOUNT", _uart(0x3FF40000)),
    "esp32s3-sim": lambda compiler: _xtensa(
        "bare/uart.c", "xtensa/esp32s3.ld", "-DNANOU_COUNT_CCOUNT", _uart(0x60000000)
    ),
}
_PROFILED: Mapping[str, Callable[[str | None], Machine]] = {
    **_BARE,
    "rv32-qemu": lambda compiler: _rv32(
        compiler, "bare/semihost.c", "rv32/virt.ld", "-DNANOU_COUNT_MARKS", count_plugin=True
    ),
}
