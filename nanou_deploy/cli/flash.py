"""`flash`: write what was built to a board."""

from __future__ import annotations

from pathlib import Path

import click

from nanou_deploy.cli.options import Output, board_option, json_option
from nanou_deploy.cli.output import emit_json, next_step, progress, say
from nanou_deploy.errors import EXIT_OK


@click.command(short_help="Write what was built to a board.")
@board_option(default=None)
@click.option("--port", metavar="PORT", help="The board's serial port. Default: the board that is plugged in.")
@click.option("--project", type=click.Path(path_type=Path), help="Folder that it was built in. Default: build/BOARD.")
@click.option("--web", type=Output(), metavar="FOLDER", help="Write a page instead, by which a browser flashes.")
@json_option
def flash(board: str, port: str | None, project: Path | None, web: Path | None, as_json: bool) -> int:
    """Write boot loader, partition table and application to a board; the chip's own hash of each is compared.

    For a simulated chip, `run` starts it from its flash image instead. With --web, FOLDER gets a page that flashes the
    board from Chrome or Edge, wherever it is opened: nobody else needs a tool chain.
    """
    if web is not None:
        return _write_page(board, project, web, as_json)
    size_bytes, address = flash_project(board, port, project)
    if as_json:
        emit_json("flash/1", {"board": board, "port": address, "bytes": size_bytes, "verified": True})
    else:
        say(f"{board} at {address}: {size_bytes:,} bytes written, every hash verified")
    return EXIT_OK


def _write_page(board: str, project: Path | None, web: Path, as_json: bool) -> int:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.flash.web_installer import write_web_installer

    size_bytes = write_web_installer(find_board(board), project or Path("build") / board, web)
    if as_json:
        emit_json("flash/1", {"board": board, "page": web / "index.html", "bytes": size_bytes, "verified": False})
    else:
        say(f"{web / 'index.html'}: {size_bytes:,} bytes of firmware, and a page that writes them from a browser")
        next_step("python", "-m", "http.server", "--directory", web, "--bind", "127.0.0.1")
    return EXIT_OK


def flash_project(board: str, port: str | None, project: Path | None) -> tuple[int, str]:
    """Flash a project; returns the bytes written and the port. Raises DeployError."""
    from nanou_deploy.boards.boards import BOARDS, find_board
    from nanou_deploy.device.ports import choose_ports
    from nanou_deploy.errors import DeployError
    from nanou_deploy.flash.flashing import flash_board, flash_places

    target = find_board(board)
    if target.kind != "hardware":
        names = ", ".join(name for name, other in BOARDS.items() if other.kind == "hardware")
        raise DeployError(
            f"{board} is no board to flash", hint=f"`nanou-deploy run --board {board}` starts it; to flash: {names}"
        )
    folder = project or Path("build") / board
    flash_places(target, folder)  # before a port is looked for: without a build there is nothing to do
    (address,) = choose_ports([port] if port else [])
    progress(f"esptool: {target.chip} at {address}")
    return flash_board(target, folder, address), address
