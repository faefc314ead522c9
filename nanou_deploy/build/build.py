"""Compile a generated model library together with the verification harness, for this machine or an emulated one."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from codegen.library.render import APP_HEADER
from nanou_deploy.boards.boards import Board
from nanou_deploy.build import elf
from nanou_deploy.build.drive_config import DEFAULT_DRIVE, DriveConfig, render_app_config
from nanou_deploy.build.flash_image import make_flash_image
from nanou_deploy.build.machines import Flags, Machine, find_machine
from nanou_deploy.build.programs import (
    CompileStep,
    ProgramPlan,
    cores_harness_sources,
    harness_sources,
    picture_harness_sources,
    plan_device,
    plan_machine,
    plan_program,
)
from nanou_deploy.build.toolchain import Tool, find_host_compiler
from nanou_deploy.build.user_folder import user_sources
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder

COMPILE_TIMEOUT_S = 600
_LINES_SHOWN = 15  # of what a compiler said

_NOT_LINKED = ("_camera.c", "_golden.c", "_traced.c")  # with the harness
# Of a library, but no part of an inference.
_BESIDE_INFERENCE = ("_border.c", *_NOT_LINKED)
_PLUGIN_FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")


@dataclass(frozen=True)
class Build:
    """A linked program and what it costs.

    `code_bytes` and `table_bytes` (constants) count the model library's own objects, before the linker drops what is
    unused; its camera and its layers' checksums are no part of an inference and left out. `flash_bytes` and `ram_bytes`
    are of the whole program: everything with contents, everything writable. `sections` are the program's, by name, in
    bytes. Builds with `trace` record every operator's output. `count_plugin`: QEMU counts instructions.
    `image`, for simulated chips, is what would be flashed, and what the simulator loads.
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
    count_plugin: bool = False
    image: Path | None = None


@dataclass(frozen=True)
class LibrarySize:
    """`code_bytes` and `table_bytes` as in `Build`."""

    code_bytes: int
    table_bytes: int


def library_runtime(library: Path) -> str:
    """ "aot" or "tflm", by what the generated library contains. Raises DeployError if it is no such library."""
    if not (library / APP_HEADER).is_file():
        raise DeployError(f"{library} is not a generated model library", hint="make one with `nanou-deploy generate`")
    return "tflm" if any((library / "src").glob("*.cc")) else "aot"


def build_harness(
    library: Path,
    board: Board,
    work_dir: Path,
    *,
    trace: bool = False,
    sanitize: bool = False,
    profile: bool = False,
    camera: bool = False,
    by_core: bool = False,
    compiler: str | None = None,
) -> Build:
    """Compile `library` (aot runtime) and the harness for a board that runs here, into `work_dir`.

    `trace` makes the program record every operator's output; `sanitize` (host only) adds AddressSanitizer and UBSan;
    `profile` prepares it for nanou_deploy.measure.profile; `camera` links the harness that takes pictures of the
    camera and gives masks (picture_harness.c), `by_core` the one of
    measure.cores. `compiler` overrides the one that `toolchain` finds. Raises DeployError
    with the compiler's words, ToolMissing where there is no compiler.
    """
    if library_runtime(library) != "aot":
        raise DeployError(
            "the harness links the aot runtime only", hint="tflm models are run by the tflite-micro package instead"
        )
    machine = find_machine(board, sanitize=sanitize, profile=profile, compiler=compiler)
    work_dir.mkdir(parents=True, exist_ok=True)
    trace_flags = ("-DNANOU_TRACE",) if trace else ()
    plan = plan_program(
        machine,
        library.resolve(),
        picture_harness_sources() if camera else cores_harness_sources() if by_core else harness_sources(),
        work_dir,
        flags=trace_flags,
        objects=_machine_objects(machine),
        without=() if camera or trace else _NOT_LINKED,
    )
    run_plan(plan)
    program = plan.program
    image = program.with_suffix(".bin") if board.kind == "sim" else None
    if image:
        make_flash_image(program, board.chip, image, flash_bytes=board.flash_bytes or 0)

    return _build(board, machine, plan, (*machine.flags, *trace_flags), image, trace=trace, sanitize=sanitize)


def build_program(sources: Sequence[Path], board: Board, work_dir: Path) -> Build:
    """Compile a program of its own, without a library, for a board that runs here. Raises as `build_harness`."""
    machine = find_machine(board)
    plan = plan_program(machine, work_dir / "no-library", sources, work_dir, objects=_machine_objects(machine))
    run_plan(plan)
    return _build(board, machine, plan, machine.flags, None)


def build_device(
    library: Path,
    board: Board,
    work_dir: Path,
    *,
    user: Path | None = None,
    drive: DriveConfig = DEFAULT_DRIVE,
    sanitize: bool = False,
    compiler: str | None = None,
) -> Build:
    """Compile `library` and the application (firmware/app, firmware/device) for host or a simulated chip.

    `user`: the folder of the user's code; without it, the motors are logged. `drive`: the policy and the camera.
    Raises DeployError with the compiler's words, which name the file; ToolMissing where there is no compiler.
    """
    if library_runtime(library) != "aot":
        raise DeployError("the device program links the aot runtime only", hint="generate it with --runtime aot")
    machine = find_machine(board, sanitize=sanitize, compiler=compiler)
    config = work_dir / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "app_config.h").write_text(render_app_config(drive), encoding="utf-8")
    sources = user_sources(user.resolve()) if user else []
    plan = plan_device(machine, board, library.resolve(), work_dir, user=sources, config=config.resolve())
    run_plan(plan)
    image = plan.program.with_suffix(".bin") if board.kind == "sim" else None
    if image:
        make_flash_image(plan.program, board.chip, image, flash_bytes=board.flash_bytes or 0)
    return _build(board, machine, plan, machine.flags, image, sanitize=sanitize)


def library_size(library: Path, board: Board, work_dir: Path) -> LibrarySize:
    """Measure a library's code and tables as `build_harness` would: only its objects are compiled, nothing is linked.

    Raises DeployError with the compiler's words, ToolMissing where there is no compiler.
    """
    plan = plan_program(find_machine(board), library.resolve(), (), work_dir, without=_BESIDE_INFERENCE)
    _compile(plan.model)
    return _size(plan.model)


def _build(board: Board, machine: Machine, plan: ProgramPlan, flags: Flags, image: Path | None, **how: bool) -> Build:
    size, sections = _size(_inference_steps(plan)), elf.read_sections(plan.program)
    return Build(
        board=board.name,
        runtime="aot",
        elf=plan.program,
        code_bytes=size.code_bytes,
        table_bytes=size.table_bytes,
        flash_bytes=elf.flash_bytes(sections),
        ram_bytes=elf.ram_bytes(sections),
        compiler=machine.compiler.version,
        flags=flags,
        sections={section.name: section.size_bytes for section in sections},
        count_plugin=machine.count_plugin,
        image=image,
        **how,
    )


@lru_cache(maxsize=32)
def _machine_objects(machine: Machine) -> tuple[Path, ...]:
    """Return what every harness for `machine` is linked with, compiled once in this process."""
    steps = plan_machine(machine, _kept_folder())
    _compile(steps)
    return tuple(step.target for step in steps)


def _kept_folder() -> Path:
    """Return a new folder that is there until this process ends."""
    folder = tempfile.mkdtemp(prefix="nanou-kept-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _inference_steps(plan: ProgramPlan) -> list[CompileStep]:
    return [step for step in plan.model if not step.source.name.endswith(_BESIDE_INFERENCE)]


def _size(steps: Sequence[CompileStep]) -> LibrarySize:
    sections = [section for step in steps for section in elf.read_sections(step.target)]
    return LibrarySize(elf.code_bytes(sections), elf.table_bytes(sections))


@lru_cache(maxsize=8)
def build_plugin(name: str, qemu: Tool) -> Path:
    """Compile firmware/host/plugin/NAME.c for this QEMU and this machine, once in this process."""
    plugin = _kept_folder() / f"{name}.so"
    version = re.search(r"version (\d+)", qemu.version)
    interface = 1 if version and int(version[1]) < 9 else 2  # qemu_plugin.h says why
    source = firmware_folder() / "host" / "plugin" / f"{name}.c"
    flags = [*_PLUGIN_FLAGS, f"-DPLUGIN_VERSION={interface}"]
    _run_compiler([*find_host_compiler().command, *flags, source, "-o", plugin])
    return plugin


def run_plan(plan: ProgramPlan) -> None:
    """Compile and link, into folders that hold nothing else. Raises DeployError with the compiler's words."""
    _compile(plan.user, of_user=True)  # first: here are mistakes to be expected
    _compile((*plan.rest, *plan.model))
    if plan.script and plan.link_script:
        plan.script.write_text(plan.link_script)
    _run_compiler(plan.link_command)


def _compile(steps: Sequence[CompileStep], *, of_user: bool = False) -> None:
    for folder in {step.target.parent for step in steps}:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda step: compile_source(step, of_user=of_user), steps))


def compile_source(step: CompileStep, *, of_user: bool = False) -> None:
    """Make one object. Raises DeployError with the compiler's words."""
    for command in step.commands:
        _run_compiler(command, step.source if of_user else None)


def _run_compiler(command: Sequence[str | Path], user_file: Path | None = None) -> None:
    """`user_file`: what is compiled, where the user wrote it and can mend it."""
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"the compiler ran for more than {COMPILE_TIMEOUT_S} s", hint="try another one") from error
    if done.returncode == 0:
        return
    lines = done.stderr.strip().splitlines()
    if user_file:
        first = "\n".join(lines[:_LINES_SHOWN])  # what follows is often a consequence
        raise DeployError(f"{user_file} does not compile:\n{first}", hint="mend it; nanou_user.h says what there is")
    said = f"{command[0]} failed with code {done.returncode}:\n" + "\n".join(lines[-_LINES_SHOWN:])
    if "nanou_user_" in done.stderr:
        raise DeployError(said, hint="the files in user/ have to define each hook of nanou_user.h, and only once")
    raise DeployError(said, hint="the generated library may be damaged: regenerate it")
