"""Define the options of commands that talk to devices, and build the device programs of boards that run here."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nanou_deploy.cli.options import Real

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel
    from nanou_deploy.boards.boards import Board
    from nanou_deploy.build.drive_config import DriveConfig

_Command = TypeVar("_Command", bound=Callable[..., Any])

port_option = click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="ADDRESS",
    help="A serial port, tcp://HOST:PORT, exec:PROGRAM or sim:IMAGE@CHIP. May be repeated. "
    "Default: the board that is plugged in.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=Real(0.1, 600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a device may take to answer a request; five times that where it computes.",
)


def frames_option(command: _Command) -> _Command:
    """Define --frames: pictures for devices without a camera."""
    return click.option(
        "--frames",
        type=click.Path(path_type=Path, file_okay=False),
        help="Send the pictures of this data set or folder, for devices without a camera.",
    )(command)


def device_address(
    board: Board,
    model: QuantizedModel,
    folder: Path,
    *,
    force: bool = False,
    user: Path | None = None,
    drive: DriveConfig | None = None,
) -> str:
    """Build the application for a board that runs on this computer; returns the address where it answers.

    `user`, `drive`: as for `build_device`.

    Raises DeployError for hardware and for boards in QEMU, whose programs end after one run.
    """
    from codegen.library.write import write_project
    from nanou_deploy.build.build import build_device
    from nanou_deploy.build.built_folder import mark_built
    from nanou_deploy.build.drive_config import DEFAULT_DRIVE
    from nanou_deploy.build.library import render_library
    from nanou_deploy.errors import DeployError

    if board.kind not in ("host", "sim"):
        raise DeployError(
            f"{board.name} has no device program on this computer",
            hint="use --board host or esp32c3-sim, or a board with --port",
        )
    library = folder / "nanou_model"
    write_project(render_library(model, "aot", board), library, force=force)
    built = build_device(library, board, mark_built(folder / "device"), user=user, drive=drive or DEFAULT_DRIVE)
    return f"sim:{built.image}@{board.chip}" if board.kind == "sim" else f"exec:{shlex.quote(str(built.elf))}"
