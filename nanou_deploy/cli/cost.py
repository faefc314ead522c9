"""`cost`: what would an inference cost, said without running it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import json_option, objective_options
from nanou_deploy.cli.output import emit_json, emit_table, progress
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from codegen.program.objective import Objective
    from nanou_deploy.measure.cost_check import CostCheck


@click.command(short_help="Predict instructions, RAM and flash; with --measure, compare.")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@click.option("--board", "boards", multiple=True, default=("rv32-qemu",), show_default=True, help="Again for more.")
@objective_options
@click.option("--measure", is_flag=True, help="Also build and emulate, and compare.")
@json_option
def cost(models: tuple[Path, ...], boards: tuple[str, ...], objective: Objective, measure: bool, as_json: bool) -> int:
    """Predict what one inference costs on a board.

    MODELS are .tflite files, run folders, or fronts (pareto.json), of which every point is taken. RAM and flash are
    exact, instructions an estimate by coefficients fitted to emulated counts. Exit code 1 where --measure finds RAM or
    flash that differ, or instructions off by more than 5 %.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.measure.cost_check import check_cost, open_models

    chosen = [find_board(name) for name in dict.fromkeys(boards)]
    opened = [one for path in models or (None,) for one in open_models(path)]
    checks = [
        check_cost(name, model, board, objective, measure=measure, progress=progress)
        for name, model in opened
        for board in chosen
    ]
    differences = [difference for check in checks for difference in check.differences]
    if as_json:
        emit_json("cost/1", {"costs": [check.to_json() for check in checks], "differences": differences})
    else:
        _print(checks, measure)
        for difference in differences:
            click.secho(f"not as predicted: {difference}", fg="red")
    return EXIT_ERROR if differences else EXIT_OK


def _print(checks: list[CostCheck], measure: bool) -> None:
    columns = ["Model", "Board", "MACs", "Instructions", "per MAC", "RAM", "Frames", "Rows, all RAM", "Code", "Tables"]
    measured = ["measured", "error"] if measure else []
    emit_table((*columns[:4], *measured, *columns[4:]), map(_row, checks), right=range(2, 12))
    if measure:
        worst = max((abs(check.error_percent) for check in checks if check.error_percent is not None), default=None)
        if worst is not None:
            click.echo(f"Instructions are predicted within {worst:.2f} %; RAM and flash of {len(checks)} compared.")


def _row(check: CostCheck) -> list[str]:
    found = check.predicted
    measured = []
    if check.measured is not None:
        counted, error = check.measured.instructions, check.error_percent
        measured = [f"{counted:,}" if counted else "not counted", "" if error is None else f"{error:+.2f} %"]
    per_mac = f"{found.instructions / found.macs:.2f}" if found.macs else ""
    rest = (found.ram_bytes, found.io_bytes, found.rows_bytes, found.code_bytes, found.table_bytes)
    first = (check.name, found.board, f"{found.macs:,}", f"{found.instructions:,}")
    return [*first, *measured, per_mac, *(f"{value:,}" for value in rest)]
