"""`boards`: list the boards."""

from __future__ import annotations

import click

from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table


@click.command(short_help="List the boards.")
@json_option
def boards(as_json: bool) -> None:
    """List the boards that firmware can be built for or verified on."""
    from nanou_deploy.boards.boards import BOARDS

    if as_json:
        emit_json("boards/1", {"boards": [as_dict(board) for board in BOARDS.values()]})
        return

    def size(size_bytes: int | None) -> str:
        if not size_bytes:
            return "-"
        return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"

    emit_table(
        ("Board", "Kind", "CPU", "MHz", "Flash", "RAM", "PSRAM", "Verified on", "Description"),
        (
            (
                board.name,
                board.kind,
                board.cpu,
                board.cpu_mhz or "-",
                size(board.flash_bytes),
                size(board.ram_bytes),
                size(board.psram_bytes),
                board.emulated_as or "itself",
                board.description,
            )
            for board in BOARDS.values()
        ),
        right=(3, 4, 5, 6),
    )
