"""`cost`: count instructions, RAM and flash of networks on boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import counting_boards_option, json_option, objective_options
from nanou_deploy.cli.output import emit_json, emit_table, progress

if TYPE_CHECKING:
    from codegen.program.objective import Objective
    from nanou_train.networks.cost import Cost


@click.command(short_help="Count instructions, RAM and flash of networks on boards.")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@counting_boards_option
@objective_options
@json_option
def cost(models: tuple[Path, ...], boards: tuple[str, ...], objective: Objective, as_json: bool) -> None:
    """Count what one inference costs on a board.

    MODELS are .tflite files, run folders, or fronts (pareto.json), of which every point is taken. Each is compiled and
    run in the board's emulator, as by `bench`, several at once; what was counted before is remembered.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.choose.front import open_models
    from nanou_deploy.measure.costing import costs_of

    chosen = [find_board(name) for name in dict.fromkeys(boards)]
    opened = [(*one, board) for path in models or (None,) for one in open_models(path) for board in chosen]
    counted = costs_of(((model, board) for _, model, board in opened), objective)
    found = []
    for number, ((name, _, _), one) in enumerate(zip(opened, counted, strict=True), start=1):
        found.append((name, one))
        progress(f"{number} of {len(opened)} counted")
    if as_json:
        costs = [{"name": name, **one.to_json(), "flash_bytes": one.flash_bytes} for name, one in found]
        emit_json("cost/2", {"costs": costs})
    else:
        _print(found)


def _print(found: Sequence[tuple[str, Cost]]) -> None:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.compilation import measurement_board

    emit_table(
        (
            "Model",
            "Board",
            "counted on",
            "MACs",
            "Instructions",
            "per MAC",
            "RAM",
            "Frames",
            "Rows, all RAM",
            "Code",
            "Tables",
        ),
        (
            (
                name,
                one.board,
                measurement_board(find_board(one.board)).name,
                f"{one.macs:,}",
                f"{one.instructions:,}",
                f"{one.instructions / one.macs:.2f}" if one.macs else "",
                *(f"{n:,}" for n in (one.ram_bytes, one.io_bytes, one.rows_bytes, one.code_bytes, one.table_bytes)),
            )
            for name, one in found
        ),
        right=range(3, 11),
    )
