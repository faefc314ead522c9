"""`build`: make verified firmware for a board of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from nanou_deploy.cli.clean import mark_built
from nanou_deploy.cli.drive_options import Drive, drive_options
from nanou_deploy.cli.options import (
    MOST,
    Output,
    board_option,
    camera_option,
    check_output,
    cores_option,
    json_option,
    model_option,
    objective_options,
    runtime_option,
    threshold_option,
)
from nanou_deploy.cli.output import as_dict, emit_json, heading, next_step, progress, remark, say, warn
from nanou_deploy.cli.verify import print_golden
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_NOT_LINKED, EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize
    from codegen.program.objective import Objective
    from nanou_deploy.boards.boards import Board
    from nanou_deploy.build.build import Build


@click.command(short_help="Verified firmware for a board.")
@board_option(default=None)
@model_option
@runtime_option
@objective_options
@cores_option
@camera_option
@threshold_option
@drive_options
@click.option("--output", type=Output(), help="Folder to build in. Default: build/BOARD.")
@click.option(
    "--cases", type=click.IntRange(1, MOST), default=10, show_default=True, help="Input frames to verify with."
)
@click.option("--force", is_flag=True, help="Replace generated folders even if they hold edited files.")
@json_option
def build(
    board: str,
    model: Path | None,
    runtime: str,
    objective: Objective,
    camera: CameraSize | None,
    threshold: float | None,
    drive: Drive,
    output: Path | None,
    cases: int,
    force: bool,
    as_json: bool,
) -> int:
    """Generate, verify and build firmware for a board.

    For hardware this leaves a complete PlatformIO project. Its application drives by what a model says of a camera's
    pictures; another model it serves to a host, and does not decide. What the motors do is yours to write, in a folder
    that is made once with working examples. Exit code 3: outputs differ, nothing was built.
    Exit code 4: all is verified, but PlatformIO's platform for the board is not installed, so nothing was linked.
    """
    from codegen.graph.contract import remarks
    from codegen.library.render import Runtime
    from codegen.library.write import write_project
    from nanou_deploy.boards.boards import check_cores, check_firmware, find_board
    from nanou_deploy.build.firmware_project import LIBRARY_FOLDER, render_firmware_project
    from nanou_deploy.build.library import judges_pictures, open_model, render_library
    from nanou_deploy.build.user_folder import path_from
    from nanou_deploy.verify.verify import verify

    target, quantized = find_board(board), open_model(model, camera, threshold)
    check_firmware(target)
    check_cores(target, objective.cores)
    folder = output or check_output(Path("build") / board)
    user = drive.folder(folder)
    for text in remarks(quantized):
        remark(text)
    if target.kind == "hardware" and " " in str(folder.absolute()):
        warn(f"{folder.absolute()} has a space, which ESP-IDF under PlatformIO refuses: it cannot be linked there")
    heading(f"{quantized.name} for {target.name}: {target.description}")
    chosen = cast(Runtime, runtime)
    library = render_library(quantized, chosen, target, objective)
    decides = judges_pictures(library)
    if not decides:
        remark(f"firmware serves {quantized.name} to a host and does not decide: it makes no masks of pictures")
    hardware = target.kind == "hardware"
    source = folder if hardware else folder / "nanou_model"
    project = (
        render_firmware_project(target, library, user_folder=path_from(folder, user), drive=drive.config())
        if hardware
        else library
    )
    write_project(project, source, force=force)
    progress(f"{source}: {len(project.files)} files")
    has_application = decides and (hardware or (target.kind in ("host", "sim") and runtime == "aot"))
    if has_application:
        drive.make(user, target)
    written = source / LIBRARY_FOLDER if hardware else source
    report = verify(quantized, [(target, cases)], runtime=chosen, library=written, progress=progress)
    if report.passed:
        outcome = _link_hardware(source, target, user) if hardware else _link_harness(source, folder, target, runtime)
        if has_application and not hardware:
            outcome["application"] = _link_application(source, folder, target, user, drive)
    else:
        outcome = {"linked": False, "build": None, "reason": "outputs differ"}
    code = EXIT_OK if outcome["linked"] else EXIT_NOT_LINKED if report.passed else EXIT_MISMATCH
    if as_json:
        golden = {**as_dict(report), "passed": report.passed}
        emit_json(
            "build/1",
            {"board": board, "runtime": runtime, "project": source, "decides": decides, "golden": golden}
            | {"user": user if has_application else None, "application": None}
            | {**outcome, "exit_code": code},
        )
        return code
    print_golden(report)
    _print_outcome(outcome, source)
    return code


def _link_harness(library: Path, folder: Path, board: Board, runtime: str) -> dict[str, Any]:
    """Link the verification program, which is all there is to link for a host or an emulated board."""
    from nanou_deploy.build.build import build_harness

    if runtime == "tflm":
        reason = "the tflm runtime is linked on hardware only; here it was run by the tflite-micro package"
        return {"linked": False, "build": None, "reason": reason}
    return {"linked": True, "build": build_harness(library, board, mark_built(folder / "harness")), "reason": ""}


def _link_application(library: Path, folder: Path, board: Board, user: Path, drive: Drive) -> Build:
    """Link what would run on a board, with the user's code: the application that `run` starts."""
    from nanou_deploy.build.build import build_device

    return build_device(library, board, mark_built(folder / "device"), user=user, drive=drive.config())


def _link_hardware(project: Path, board: Board, user: Path) -> dict[str, Any]:
    from nanou_deploy.build.platformio import PlatformMissing, build_project, lint_project

    outcome: dict[str, Any] = {"lint": lint_project(project), "linked": False, "build": None, "reason": ""}
    progress(f"PlatformIO: {board.name}")
    try:
        return {**outcome, "linked": True, "build": build_project(project, board.name, user=user)}
    except PlatformMissing as error:
        return {**outcome, "reason": f"{error}; {error.hint}"}


def _print_outcome(outcome: dict[str, Any], source: Path) -> None:
    for message in (*outcome["lint"].errors, *outcome["lint"].warnings) if "lint" in outcome else ():
        say(f"platformio.ini: {message}", fg="yellow")
    if outcome["linked"]:
        built = cast("Build", outcome["build"])
        say(
            f"{built.elf}: model code {built.code_bytes:,} B, tables {built.table_bytes:,} B; "
            f"whole program flash {built.flash_bytes:,} B, RAM {built.ram_bytes:,} B"
        )
        if application := outcome.get("application"):
            say(f"{application.elf}: the application, with your code")
        if "lint" in outcome:
            next_step("pio", "run", "-d", source, "-t", "upload")
    else:
        say(outcome["reason"], fg="yellow")
