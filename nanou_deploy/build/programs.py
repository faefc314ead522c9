"""Plan how a program is compiled and linked: its sources, each with its commands. Nothing is run here.

`build.py` runs these commands itself, PlatformIO's builder (firmware/platform/builder/main.py) hands them to SCons.
Imports no package from outside, since PlatformIO may run with a Python that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nanou_deploy.boards.boards import Board
from nanou_deploy.build.machines import Command, Compiler, Flags, Machine
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
    """Everything that makes `program`. `link_script` is the text of `script`, both None under an operating system.
    `user`: steps whose sources are the user's own.
    """

    model: tuple[CompileStep, ...]
    rest: tuple[CompileStep, ...]
    program: Path
    link_command: Command
    script: Path | None
    link_script: str | None
    user: tuple[CompileStep, ...] = ()

    @property
    def steps(self) -> tuple[CompileStep, ...]:
        return (*self.rest, *self.model, *self.user)


def plan_program(
    machine: Machine,
    library: Path,
    sources: Sequence[Path],
    folder: Path,
    *,
    flags: Flags = (),
    includes: Sequence[Path] = (),
    objects: Sequence[Path] = (),
    without: Sequence[str] = (),
    user_sources: Sequence[Path] = (),
    name: str = "harness.elf",
) -> ProgramPlan:
    """Plan a program of the generated `library` and other `sources`, as `folder`/`name`.

    `flags` are in addition to the machine's, `includes` for the other sources only. `objects` are linked as they are,
    the library's files whose names end in one of `without` left out. `user_sources` see headers of their own folder.
    """
    host = firmware_folder() / "host"
    common = [library / "include", library / "app", *([host / "bare" / "include"] if machine.link_script else [])]
    model_flags = (*machine.flags, *flags)
    made = (path for suffix in ("*.c", "*.S") for path in (library / "src").glob(suffix))
    model_sources = sorted(path for path in made if not path.name.endswith(tuple(without)))
    model = _steps(machine.compiler, model_flags, common, model_sources, folder / "model")
    rest_flags = (*model_flags, *machine.harness_flags)
    own = [*common, host, host.parent / "app", *includes, host.parent / "config"]
    rest = _steps(machine.compiler, rest_flags, own, sources, folder / "harness")
    of_user = [*own, *sorted({path.parent for path in user_sources})]
    user = _steps(machine.compiler, rest_flags, of_user, user_sources, folder / "user")
    script = folder / "link.ld" if machine.link_script else None
    linked = [*objects, *(step.target for step in (*rest, *model, *user))]
    return ProgramPlan(
        model=model,
        rest=rest,
        program=folder / name,
        link_command=machine.compiler.link_command(model_flags, linked, script, folder / name),
        script=script,
        user=user,
        # The machine's memory map and the sections, in one file: not every linker knows where to look for a second.
        link_script="\n".join((host / part).read_text() for part in machine.link_script) if script else None,
    )


def plan_machine(machine: Machine, folder: Path) -> tuple[CompileStep, ...]:
    """Plan what a program needs from the machine, the same for every model."""
    host = firmware_folder() / "host"
    includes = [host, *([host / "bare" / "include"] if machine.link_script else [])]
    flags = (*machine.flags, *machine.harness_flags)
    return _steps(machine.compiler, flags, includes, machine_sources(machine), folder)


def machine_sources(machine: Machine) -> list[Path]:
    """List start-up code, memory functions and input and output of the machine."""
    return [firmware_folder() / "host" / name for name in machine.machine_sources]


def harness_sources() -> list[Path]:
    """List the main program that runs frames through a model."""
    return [firmware_folder() / "host" / name for name in ("harness.c", "cores_threads.c")]


def cores_harness_sources() -> list[Path]:
    """List the main program that counts what each of two cores executes."""
    return [firmware_folder() / "host" / "cores_harness.c"]


def picture_harness_sources() -> list[Path]:
    """List the main program that turns pictures of a camera into masks."""
    host, vision = firmware_folder() / "host", firmware_folder() / "app" / "vision"
    return [host / "picture_harness.c", *(vision / f"{name}.c" for name in ("vision", "cover", "packed_mask"))]


def policy_sources() -> list[Path]:
    """List the main program that decides by masks as the firmware does (host/policy.c)."""
    host, vision = firmware_folder() / "host", firmware_folder() / "app" / "vision"
    return [host / "policy.c", *(vision / f"{name}.c" for name in ("cover", "navigation", "packed_mask"))]


def plan_device(
    machine: Machine,
    board: Board,
    library: Path,
    folder: Path,
    *,
    flags: Flags = (),
    user: Sequence[Path] = (),
    config: Path | None = None,
) -> ProgramPlan:
    """Plan the application (firmware/app) as a program, for this computer or for a simulated chip with a UART.

    `user`: C files of the user's; without any, those of firmware/user. `config`: the folder of app_config.h.
    Raises DeployError for other boards: QEMU's have no line to a host here.
    """
    if board.kind not in ("host", "sim"):
        raise DeployError(f"the application does not run on {board.name}", hint="use host or one of the *-sim boards")
    device = firmware_folder() / "device"
    system = "posix" if board.kind == "host" else "bare"
    ports = [device / f"{part}_{system}.c" for part in ("port", "motors")]
    shared = [path for path in machine_sources(machine) if path.name not in _HARNESS_ONLY]
    sees = all(any((library / "include").glob(f"*_{part}.h")) for part in ("camera", "classes"))
    app = firmware_folder() / "app"
    application = sorted([*app.glob("*.c"), *((app / "vision").glob("*.c") if sees else ())])
    defines = (
        f"-DNANOU_BUILD_FLAGS={' '.join((*machine.flags, *flags))}",
        f"-DNANOU_BOARD={board.name}",
        *([f"-DNANOU_CPU_MHZ={board.cpu_mhz}u"] if board.cpu_mhz else []),
        *(["-DNANOU_MAILBOX"] if board.name == "esp32-sim" else []),  # its UART receives nothing
    )
    memory, *sections = machine.link_script or ("",)
    bare = replace(
        machine,
        harness_flags=(*machine.harness_flags, *defines),
        link_script=(memory, "../device/retained.ld", *sections) if memory else (),
    )
    firmware = firmware_folder()
    threads = [firmware / "host" / "cores_threads.c"] if board.kind == "host" else []
    return plan_program(
        bare,
        library,
        [*application, device / "main.c", *ports, *threads, *shared],
        folder,
        flags=flags,
        includes=[device, *([config] if config else [])],
        user_sources=user or sorted((firmware / "user").glob("*.c")),
        name="device.elf",
    )


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
