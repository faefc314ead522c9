"""Plan how a program is compiled and linked: its sources, each with its commands. Nothing is run here.

`build.py` runs these commands itself, PlatformIO's builder (firmware/platform/builder/main.py) hands them to SCons.
Imports no package from outside, since PlatformIO may run with a Python that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nanou_deploy.boards.boards import Board
from nanou_deploy.build.targets import Command, Compiler, Flags, Target
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder

# What machines have for the harness alone: device/port_bare.c and port_posix.c do the same for the application.
_HARNESS_ONLY = ("target_files.c", "trap.c", "uart.c")


@dataclass(frozen=True)
class CompileStep:
    """Commands, to be run in order, that make `target` of `source`; `includes` are where its headers are."""

    source: Path
    target: Path
    commands: tuple[Command, ...]
    includes: tuple[Path, ...]


@dataclass(frozen=True)
class ProgramPlan:
    """Everything that makes `program`. `link_script` is the text of `script`, both None under an operating system."""

    model: tuple[CompileStep, ...]
    rest: tuple[CompileStep, ...]
    program: Path
    link_command: Command
    script: Path | None
    link_script: str | None

    @property
    def steps(self) -> tuple[CompileStep, ...]:
        return (*self.rest, *self.model)


def plan_program(
    target: Target,
    library: Path,
    sources: Sequence[Path],
    folder: Path,
    *,
    flags: Flags = (),
    includes: Sequence[Path] = (),
    objects: Sequence[Path] = (),
    without: Sequence[str] = (),
    name: str = "harness.elf",
) -> ProgramPlan:
    """Plan a program of the generated `library` and other `sources`, as `folder`/`name`.

    `flags` are in addition to the target's, `includes` for the other sources only. `objects` are linked as they are,
    the library's files called `without` left out.
    """
    host = firmware_folder() / "host"
    common = [library / "include", *([host / "bare" / "include"] if target.link_script else [])]
    model_flags = (*target.flags, *flags)
    model_sources = sorted(path for path in (library / "src").glob("*.c") if path.name not in without)
    model = _steps(target.compiler, model_flags, common, model_sources, folder / "model")
    rest_flags = (*model_flags, *target.harness_flags)
    rest = _steps(
        target.compiler, rest_flags, [*common, host, host.parent / "app", *includes], sources, folder / "harness"
    )
    script = folder / "link.ld" if target.link_script else None
    linked = [*objects, *(step.target for step in (*rest, *model))]
    return ProgramPlan(
        model=model,
        rest=rest,
        program=folder / name,
        link_command=target.compiler.link_command(model_flags, linked, script, folder / name),
        script=script,
        # The machine's memory map and the sections, in one file: not every linker knows where to look for a second.
        link_script="\n".join((host / part).read_text() for part in target.link_script) if script else None,
    )


def plan_machine(target: Target, folder: Path) -> tuple[CompileStep, ...]:
    """Plan what a program needs from the target's machine, the same for every model."""
    host = firmware_folder() / "host"
    includes = [host, *([host / "bare" / "include"] if target.link_script else [])]
    flags = (*target.flags, *target.harness_flags)
    return _steps(target.compiler, flags, includes, machine_sources(target), folder)


def machine_sources(target: Target) -> list[Path]:
    """List start-up code, memory functions and input and output of the target's machine."""
    return [firmware_folder() / "host" / name for name in target.machine_sources]


def harness_sources() -> list[Path]:
    """List the main program that runs frames through a model."""
    return [firmware_folder() / "host" / "harness.c"]


def picture_harness_sources() -> list[Path]:
    """List the main program that turns pictures of a camera into masks."""
    host, vision = firmware_folder() / "host", firmware_folder() / "app" / "vision"
    return [host / "picture_harness.c", vision / "vision.c", vision / "packed_mask.c"]


def plan_device(target: Target, board: Board, library: Path, folder: Path, *, flags: Flags = ()) -> ProgramPlan:
    """Plan the application (firmware/app) as a program, for this computer or for a simulated chip with a UART.

    Raises DeployError for other boards: QEMU's have no line to a host here.
    """
    if board.kind not in ("host", "sim"):
        raise DeployError(f"the application does not run on {board.name}", hint="use host or one of the *-sim boards")
    device = firmware_folder() / "device"
    port = device / ("port_posix.c" if board.kind == "host" else "port_bare.c")
    machine = [path for path in machine_sources(target) if path.name not in _HARNESS_ONLY]
    sees = (library / "include" / "nanou_camera.h").is_file()
    app = firmware_folder() / "app"
    application = sorted([*app.glob("*.c"), *((app / "vision").glob("*.c") if sees else ())])
    defines = (
        f"-DNANOU_BUILD_FLAGS={' '.join((*target.flags, *flags))}",
        f"-DNANOU_BOARD={board.name}",
        *([] if sees else ["-DNANOU_NO_VISION"]),
        *([f"-DNANOU_CPU_MHZ={board.cpu_mhz}u"] if board.cpu_mhz else []),
        *(["-DNANOU_MAILBOX"] if board.name == "esp32-sim" else []),  # its UART receives nothing
    )
    memory, *sections = target.link_script or ("",)
    bare = replace(
        target,
        harness_flags=(*target.harness_flags, *defines),
        link_script=(memory, "../device/retained.ld", *sections) if memory else (),
    )
    includes = [device, library / "src"]
    sources = [*application, device / "main.c", port, *machine]
    return plan_program(bare, library, sources, folder, flags=flags, includes=includes, name="device.elf")


def _steps(
    compiler: Compiler, flags: Flags, includes: Sequence[Path], sources: Sequence[Path], folder: Path
) -> tuple[CompileStep, ...]:
    every_flag = (*flags, *(f"-I{path}" for path in includes))
    steps = []
    for source in sources:
        made = folder / f"{source.stem}.o"
        commands = tuple(compiler.compile_commands(every_flag, source, made))
        steps.append(CompileStep(source, made, commands, tuple(includes)))
    return tuple(steps)
