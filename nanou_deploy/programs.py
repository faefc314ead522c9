"""What a program is made of: sources, each with its commands, and how they are linked. Nothing is run here.

`build.py` runs these commands itself, PlatformIO's builder (firmware/platform/builder/main.py) hands them to SCons.
Imports no package from outside, since PlatformIO may run with a Python that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy.resources import firmware_folder
from nanou_deploy.targets import Command, Compiler, Flags, Target


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
    name: str = "harness.elf",
) -> ProgramPlan:
    """A program of the generated `library` and other `sources`, as `folder`/`name`.

    `flags` are in addition to the target's, `includes` for the other sources only.
    """
    host = firmware_folder() / "host"
    common = [library / "include", *([host / "bare" / "include"] if target.link_script else [])]
    model_flags = (*target.flags, *flags)
    model = _steps(target.compiler, model_flags, common, sorted((library / "src").glob("*.c")), folder / "model")
    rest_flags = (*model_flags, *target.harness_flags)
    rest = _steps(target.compiler, rest_flags, [*common, host, *includes], sources, folder / "harness")
    script = folder / "link.ld" if target.link_script else None
    objects = [step.target for step in (*rest, *model)]
    return ProgramPlan(
        model=model,
        rest=rest,
        program=folder / name,
        link_command=target.compiler.link_command(model_flags, objects, script, folder / name),
        script=script,
        # The machine's memory map and the sections, in one file: not every linker knows where to look for a second.
        link_script="\n".join((host / part).read_text() for part in target.link_script) if script else None,
    )


def harness_sources(target: Target) -> list[Path]:
    """The harness with what it needs from the target's machine."""
    return [firmware_folder() / "host" / name for name in target.harness_sources]


def machine_sources(target: Target) -> list[Path]:
    """The same without the harness: for programs with a main of their own."""
    return [path for path in harness_sources(target) if path.name != "harness.c"]


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
