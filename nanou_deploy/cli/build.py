"""`build`: make verified firmware for a board of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

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
from nanou_deploy.cli.output import as_dict, emit_json, heading, next_step, progress, remark, say
from nanou_deploy.cli.platform_offer import offer_platform, warn_of_space, yes_option
from nanou_deploy.cli.verify import print_golden
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_NOT_LINKED, EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize
    from codegen.program.objective import Objective
    from nanou_deploy.boards.boards import Board
    from nanou_deploy.firmware.make_firmware import Firmware
    from nanou_deploy.verify.golden import GoldenReport


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
@yes_option
@click.option("--web", type=Output(), metavar="FOLDER", help="Of a chip: also write a page by which a browser flashes.")
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
    yes: bool,
    web: Path | None,
    as_json: bool,
) -> int:
    """Generate, verify and build firmware for a board.

    For hardware this leaves a complete PlatformIO project. Its application drives by what a model says of a camera's
    pictures; another model it serves to a host, and does not decide. What the motors do is yours to write, in a folder
    that is made once with working examples. Exit code 3: outputs differ, nothing was built.
    Exit code 4: all is verified, but PlatformIO's platform for the board is not installed, so nothing was linked; in a
    terminal it is asked whether to fetch it, and --yes does so.
    """
    from codegen.graph.contract import remarks
    from codegen.library.render import Runtime
    from nanou_deploy.boards.boards import check_cores, check_firmware, find_board
    from nanou_deploy.build.library import open_model
    from nanou_deploy.firmware.make_firmware import Order, make_firmware

    target, quantized = find_board(board), open_model(model, camera, threshold)
    check_firmware(target)
    check_cores(target, objective.cores)
    folder = output or check_output(Path("build") / board)
    order = Order(
        target, folder, cast(Runtime, runtime), objective, drive.folder(folder), drive.begins_as, drive.config(), cases,
        force,
    )  # fmt: skip
    if web is not None and not order.is_hardware:
        raise click.UsageError(f"{board} is no chip that a browser could flash: leave --web out")
    for text in remarks(quantized):
        remark(text)
    if order.is_hardware:
        warn_of_space(folder)
    heading(f"{quantized.name} for {target.name}: {target.description}")
    install = offer_platform(board, yes=yes, may_ask=not as_json)
    firmware = make_firmware(quantized, order, progress=progress, install=install, made=drive.say_made)
    golden = firmware.golden
    assert golden is not None  # there is at least one case
    if not firmware.decides:
        remark(f"firmware serves {quantized.name} to a host and does not decide: it makes no masks of pictures")
    page = _page(firmware, target, web)
    code = EXIT_OK if firmware.linked else EXIT_NOT_LINKED if golden.passed else EXIT_MISMATCH
    if as_json:
        emit_json("build/1", _document(firmware, golden, board, runtime) | {"page": page, "exit_code": code})
        return code
    print_golden(golden)
    _print_outcome(firmware, page)
    return code


def _page(firmware: Firmware, board: Board, web: Path | None) -> Path | None:
    """Write the page that flashes what was linked; nothing where nothing was."""
    if web is None or firmware.linked is None:
        return None
    from nanou_deploy.flash.web_installer import write_web_installer

    write_web_installer(board, firmware.project, web)
    return web / "index.html"


def _document(firmware: Firmware, golden: GoldenReport, board: str, runtime: str) -> dict[str, Any]:
    document = {"board": board, "runtime": runtime, "project": firmware.project, "decides": firmware.decides}
    document |= {"golden": {**as_dict(golden), "passed": golden.passed}}
    document |= {"user": firmware.user, "application": firmware.application}
    document |= {"lint": firmware.lint} if firmware.lint else {}
    return document | {"linked": firmware.linked is not None, "build": firmware.linked, "reason": firmware.reason}


def _print_outcome(firmware: Firmware, page: Path | None) -> None:
    lint, built = firmware.lint, firmware.linked
    for message in (*lint.errors, *lint.warnings) if lint else ():
        say(f"platformio.ini: {message}", fg="yellow")
    if built is None:
        say(firmware.reason, fg="yellow")
        return
    say(
        f"{built.elf}: model code {built.code_bytes:,} B, tables {built.table_bytes:,} B; "
        f"whole program flash {built.flash_bytes:,} B, RAM {built.ram_bytes:,} B"
    )
    if firmware.application:
        say(f"{firmware.application.elf}: the application, with your code")
    if page is not None:
        say(f"{page}: a page that flashes it from a browser")
    if lint:
        next_step("pio", "run", "-d", firmware.project, "-t", "upload")
