"""Find compilers and emulators, and say how to get the missing ones.

Nothing is downloaded here. `$CC` names another host compiler than the first of gcc, clang, cc.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from codegen.child_python import python_command
from nanou_deploy.errors import ToolMissing

HOST_COMPILER_HINT = "install one: `sudo apt-get install gcc`, or without root `python -m pip install ziglang`"
SANITIZER_HINT = "install gcc with its sanitizers: `sudo apt-get install gcc`"
RV32_COMPILER_HINT = (
    "install it: `sudo apt-get install gcc-riscv64-unknown-elf`, or without root `python -m pip install ziglang`"
)
ARM_COMPILER_HINT = "install it: `sudo apt-get install gcc-arm-none-eabi`"
XTENSA_TOOLS_HINT = (
    "install them: `sudo apt-get install clang-22 llvm-22 binutils-xtensa-lx106` (where clang-22 is not packaged: "
    "https://apt.llvm.org)"
)
DISASSEMBLER_HINT = "install it: `sudo apt-get install {package}`"
QEMU_HINT = "install it: `sudo apt-get install qemu-system-misc` (Debian 13 and later: qemu-system-riscv)"
QEMU_ARM_HINT = "install it: `sudo apt-get install qemu-system-arm`"
QEMU_XTENSA_HINT = "install it: `sudo apt-get install qemu-system-misc`"
XTENSA_LLVM_VERSIONS = (22,)  # code of older ones does not run on an ESP32
LABWIRED_HINT = "install it: `python -m pip install labwired==0.25.0`"


@dataclass(frozen=True)
class Tool:
    """A program that was found: how to call it, and the first line of what it says about its version."""

    name: str
    command: tuple[str, ...]
    version: str

    @property
    def is_zig(self) -> bool:
        return self.name == "zig"

    @property
    def is_gcc(self) -> bool:
        """By what it says of itself: on some computers clang is called gcc."""
        return not self.is_zig and "clang" not in self.version.lower()


@dataclass(frozen=True)
class XtensaTools:
    """What it takes to make Xtensa code of C: LLVM's parts, which must be of one version, and GNU's linker."""

    clang: Tool
    llc: Tool
    assembler: Tool
    linker: Tool


@lru_cache(maxsize=32)
def program_version(command: tuple[str, ...]) -> str:
    """Return the first line of `command --version`; empty if it cannot be run."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def _find_program(names: Sequence[str]) -> Tool | None:
    for name in names:
        path = shutil.which(name)
        version = program_version((path,)) if path else ""
        if path and version:
            return Tool(name, (path,), version)
    return None


def _find_zig() -> Tool | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    return Tool("zig", (*python_command("-m", "ziglang"), "cc"), f"zig {importlib.metadata.version('ziglang')}")


def find_host_compiler(name: str | None = None) -> Tool:
    """Find a C compiler for this machine: `name`, else $CC, else the first that works. Raises ToolMissing."""
    wanted = name or os.environ.get("CC")
    if wanted == "zig":
        tool = _find_zig()
    elif wanted:
        command = tuple(shlex.split(wanted))
        path = shutil.which(command[0])
        version = program_version((path, *command[1:])) if path else ""
        tool = Tool(Path(command[0]).name, (path, *command[1:]), version) if path and version else None
    else:
        tool = _find_program(("gcc", "clang", "cc")) or _find_zig()
    if tool is None:
        raise ToolMissing(f"no C compiler {wanted!r}" if wanted else "no C compiler", hint=HOST_COMPILER_HINT)
    return tool


def find_rv32_compiler(name: str | None = None) -> Tool:
    """Find a compiler for bare-metal RV32IMC; no C library is needed. Raises ToolMissing."""
    if name == "zig":
        tool = _find_zig()
    else:
        tool = _find_program((name,) if name else ("riscv64-unknown-elf-gcc", "riscv32-esp-elf-gcc")) or _find_zig()
    if tool is None:
        raise ToolMissing("no compiler for RV32 (riscv64-unknown-elf-gcc)", hint=RV32_COMPILER_HINT)
    return tool


def find_arm_compiler(name: str | None = None) -> Tool:
    """Find a compiler for bare-metal Cortex-M; no C library is needed. Raises ToolMissing."""
    tool = _find_program((name or "arm-none-eabi-gcc",))
    if tool is None:
        raise ToolMissing("no compiler for Cortex-M (arm-none-eabi-gcc)", hint=ARM_COMPILER_HINT)
    return tool


def find_xtensa_tools() -> XtensaTools:
    """Find LLVM 22 or later with its Xtensa backend, and a linker. Raises ToolMissing."""
    linker = _find_program(("xtensa-lx106-elf-ld", "xtensa-esp-elf-ld", "xtensa-esp32-elf-ld"))
    for version in XTENSA_LLVM_VERSIONS:
        clang, llc, assembler = (_find_program((f"{part}-{version}",)) for part in ("clang", "llc", "llvm-mc"))
        if clang and llc and assembler and linker:
            return XtensaTools(clang, llc, assembler, linker)
    raise ToolMissing(
        "no compiler for Xtensa (clang-22, llc-22, llvm-mc-22, xtensa-lx106-elf-ld)", hint=XTENSA_TOOLS_HINT
    )


def find_disassembler(isa: str) -> Tool:
    """Find the objdump that belongs to the compiler for this instruction set. Raises ToolMissing."""
    llvm = tuple(f"llvm-objdump-{version}" for version in XTENSA_LLVM_VERSIONS)
    names, package = {
        "rv": (("riscv64-unknown-elf-objdump", "riscv32-esp-elf-objdump", *llvm), "binutils-riscv64-unknown-elf"),
        "ar": (("arm-none-eabi-objdump", *llvm), "binutils-arm-none-eabi"),
        "xt": (llvm, "llvm-22"),
    }[isa[:2]]
    tool = _find_program(names)
    if tool is None:
        raise ToolMissing(f"no disassembler for {isa} ({names[0]})", hint=DISASSEMBLER_HINT.format(package=package))
    return tool


def _find_qemu(architecture: str, hint: str) -> Tool:
    tool = _find_program((f"qemu-system-{architecture}",))
    if tool is None:
        raise ToolMissing(f"qemu-system-{architecture} is not installed", hint=hint)
    return tool


def find_qemu_riscv32() -> Tool:
    """Find QEMU's system emulator for RV32. Raises ToolMissing."""
    return _find_qemu("riscv32", QEMU_HINT)


def find_qemu_arm() -> Tool:
    """Find QEMU's system emulator for Arm. Raises ToolMissing."""
    return _find_qemu("arm", QEMU_ARM_HINT)


def find_qemu_xtensa() -> Tool:
    """Find QEMU's system emulator for little-endian Xtensa. Raises ToolMissing."""
    return _find_qemu("xtensa", QEMU_XTENSA_HINT)


def find_labwired() -> Tool:
    """Find the labwired simulator, a Python package. Raises ToolMissing."""
    if importlib.util.find_spec("labwired") is None:
        raise ToolMissing("the labwired simulator is not installed", hint=LABWIRED_HINT)
    return Tool("labwired", (), f"labwired {importlib.metadata.version('labwired')}")


@lru_cache(maxsize=8)
def sanitizers_work(compiler: tuple[str, ...]) -> bool:
    """Check whether this compiler makes programs that run with ASan and UBSan, whose runtimes are extra."""
    with TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text("int main(void) { return 0; }\n")
        command = [*compiler, "-fsanitize=address,undefined", str(source), "-o", str(program)]
        try:
            subprocess.run(command, capture_output=True, timeout=60, check=True)
            subprocess.run([str(program)], capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def find_sanitizing_compiler(name: str | None = None) -> Tool:
    """Find a host compiler whose sanitizers work: the default one or another. Raises ToolMissing."""
    for candidate in (name,) if name else (None, "gcc", "clang"):
        try:
            tool = find_host_compiler(candidate)
        except ToolMissing:
            continue
        if not tool.is_zig and sanitizers_work(tool.command):
            return tool
    raise ToolMissing("no C compiler with working AddressSanitizer", hint=SANITIZER_HINT)
