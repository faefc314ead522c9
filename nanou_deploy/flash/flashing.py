"""Flash what was built for a board: find the parts, their offsets, and write them."""

from __future__ import annotations

import shlex
from pathlib import Path

from nanou_deploy.boards.boards import Board
from nanou_deploy.boards.partitions import TABLE_OFFSET, parse_partitions
from nanou_deploy.errors import DeployError
from nanou_deploy.flash.upload import boot_loader_offset, write_flash

_MOCK_SCHEME = "socket://"  # pyserial's; of boards, only stand-ins of the boot loader are reached that way


def flash_places(board: Board, folder: Path) -> dict[int, Path]:
    """Map offsets in flash to files that were built in `folder` for a board. Raises DeployError where one is missing.

    The files are PlatformIO's: second-stage boot loader, partition table, application.
    """
    built = folder / ".pio" / "build" / board.name
    table = folder / "boards" / "partitions.csv"
    if not table.is_file():
        raise DeployError(f"{folder} is no project for {board.name}", hint=f"`nanou-deploy build --board {board.name}`")
    partitions = parse_partitions(table.read_text(encoding="utf-8"))
    application = next(partition for partition in partitions if partition.kind == "app")
    places = {
        boot_loader_offset(board.chip): built / "bootloader.bin",
        TABLE_OFFSET: built / "partitions.bin",
        application.offset: built / "firmware.bin",
    }
    missing = [path.name for path in places.values() if not path.is_file()]
    if missing:
        raise DeployError(
            f"{built} lacks {', '.join(missing)}: nothing was built there",
            hint=f"`nanou-deploy build --board {board.name}`; where it exits with 4, "
            f"`pio run -d {shlex.quote(str(folder))} -e {board.name}` with a network",
        )
    return places


def flash_board(board: Board, folder: Path, port: str) -> int:
    """Write what was built in `folder` to the board at `port`; the chip's own hash of each part is compared.

    Returns how many bytes were written. Raises DeployError.
    """
    places = flash_places(board, folder)
    write_flash(board.chip, port, places, mock=port.startswith(_MOCK_SCHEME))
    return sum(path.stat().st_size for path in places.values())
