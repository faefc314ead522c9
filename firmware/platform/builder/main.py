"""Build one registry-free environment. What is compiled with which flags comes from nanou_deploy, as for `verify`.

The program is the application; on QEMU, which has no line to a host here, the verification harness. Targets: the
program; `upload`, which flashes the mock of a board and starts the program on the emulated one; `size`. `pio test`
builds the sources of one folder of firmware/test instead.
"""
# ruff: noqa: E402 (PlatformIO runs this file by itself, so nanou_deploy has to be found first)

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, Action, Default, DefaultEnvironment
from SCons.Tool import CScanner

env = DefaultEnvironment()
PROJECT, BUILD = Path(env.subst("$PROJECT_DIR")), Path(env.subst("$BUILD_DIR"))
PLATFORM = Path(env.PioPlatform().get_dir()).resolve()
SOURCES = next(folder for folder in PLATFORM.parents if (folder / "nanou_deploy" / "resources.py").is_file())
sys.path.insert(0, str(SOURCES))

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build import elf
from nanou_deploy.build.machines import find_machine
from nanou_deploy.build.programs import (
    CompileStep,
    ProgramPlan,
    harness_sources,
    machine_sources,
    plan_device,
    plan_program,
)
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder

LIBRARY, PYTHON = Path(env["NANOU_LIBRARY"]), env["NANOU_PYTHON"]  # from firmware/generate_model.py
APPLICATION = firmware_folder() / "app"
board = find_board(env["BOARD"])


def plan() -> ProgramPlan:
    """Choose what to build: the application, the harness, or the test that `pio test` asked for."""
    machine = find_machine(board)
    flags = tuple(shlex.split(" ".join(env.GetProjectOption("build_flags", []))))
    if "__test" not in COMMAND_LINE_TARGETS:
        if board.kind == "qemu":
            return plan_program(machine, LIBRARY, [*harness_sources(), *machine_sources(machine)], BUILD, flags=flags)
        return plan_device(machine, board, LIBRARY, BUILD, flags=flags)
    test = Path(env.subst("$PROJECT_TEST_DIR")) / env["PIOTEST_RUNNING_NAME"]
    sources = [*with_included(sorted(test.glob("*.c"))), *machine_sources(machine)]
    includes = [test.parent, LIBRARY / "src"]
    return plan_program(machine, LIBRARY, sources, BUILD, flags=flags, includes=includes, name="test.elf")


def with_included(sources: list[Path]) -> list[Path]:
    """Extend `sources` by the modules of the application whose headers they include, and those that these include."""
    read = list(sources)
    for file in read:  # which grows meanwhile
        for name in re.findall(r'#include "([\w/]+)\.h"', file.read_text(encoding="utf-8")):
            module = [APPLICATION / f"{name}.h", APPLICATION / f"{name}.c"]
            read += [path for path in module if path.is_file() and path not in read]
    return [path for path in read if path.suffix == ".c"]


def add_step(step: CompileStep) -> object:
    shown = Action([list(command) for command in step.commands], f"Compiling {step.target.relative_to(PROJECT)}")
    headers = [str(path) for path in step.includes]
    return env.Command(str(step.target), str(step.source), shown, source_scanner=CScanner, CPPPATH=headers)


def write_script(path: Path, text: str) -> None:
    """Only when it changes, so that an unchanged program is not linked again."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def add_program(planned: ProgramPlan) -> object:
    for folder in {step.target.parent for step in planned.steps}:
        folder.mkdir(parents=True, exist_ok=True)
    objects = [add_step(step) for step in planned.steps]
    link = Action([list(planned.link_command)], f"Linking {planned.program.relative_to(PROJECT)}")
    program = env.Command(str(planned.program), objects, link)
    if planned.script:
        write_script(planned.script, planned.link_script)
        env.Depends(program, str(planned.script))
    return program


def print_sizes(target: list, source: list, env: object) -> None:
    sections = elf.read_sections(Path(str(source[0])))
    print(f"Flash: {elf.flash_bytes(sections):,} bytes. RAM: {elf.ram_bytes(sections):,} bytes, stack included.")


def launch(action: str, *arguments: str, shown: str) -> object:
    """nanou_deploy/flash/launch.py on the program, as a command."""
    return Action([[PYTHON, "-P", "-m", "nanou_deploy.flash.launch", action, board.name, "$SOURCE", *arguments]], shown)


try:
    planned = plan()
    program = add_program(planned)
except DeployError as error:
    sys.stderr.write(f"{error}\n  try: {error.hint}\n")
    env.Exit(1)
env.PrependENVPath("PYTHONPATH", str(SOURCES))  # for launch
env.Replace(PROGNAME=planned.program.stem, PROGSUFFIX=".elf")
made = [program, env.AddPlatformTarget("size", program, Action(print_sizes, "Sizes"), "Program size")]
if board.kind == "sim" and "__test" not in COMMAND_LINE_TARGETS:
    images = [str(planned.program.with_suffix(".bin")), str(BUILD / "flash.bin")]
    made.append(env.Command(images, program, launch("image", shown="Making the flash image")))
port = [env.subst("$UPLOAD_PORT")] if env.get("UPLOAD_PORT") else []
start = launch("upload", *port, shown=f"Starting it on {board.name}")
env.AddPlatformTarget("upload", [program, *made[2:]], start, "Flash and start")
(BUILD / "python.txt").write_text(PYTHON)  # for firmware/test/test_custom_runner.py
Default(made)
