"""`fit`: choose the network of a front that fits a board and a goal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import Count, Real, Size, board_option, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, next_step, percent, progress, say
from nanou_deploy.cli.pareto import remark_masks
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from nanou_deploy.choose.fit import Fit, Verdict


@click.command(short_help="Pick the network of a front that fits a board and a goal.")
@click.argument("front", type=click.Path(path_type=Path))
@board_option(None, "A board; costs are found where the front has none for it.")
@click.option("--fps", type=Real(0, 1e6, min_open=True), help="Inferences per second.")
@click.option("--max-ram", type=Size(), help="Most working RAM, frames not counted: 8192 or 8KB.")
@click.option("--max-flash", type=Size(), help="Most code and tables. Default: half of the chip's flash.")
@click.option("--max-instructions", type=Count(), help="Most instructions of one inference: 4000000 or 4M.")
@click.option("--min-miou", type=Real(0, 1), help="Least mIoU, of int8 on the test part where measured.")
@click.option("--timing", type=click.Path(path_type=Path), help="File of `bench --port --save-timing`, for ms.")
@click.option(
    "--cycles-per-instruction",
    type=Real(0, 1000, min_open=True),
    help="Without --timing: what --fps is turned into instructions by. Default: 2, an assumption.",
)
@json_option
def fit(
    front: Path,
    board: str,
    timing: Path | None,
    max_ram: int | None,
    max_flash: int | None,
    as_json: bool,
    **goal: Any,
) -> int:
    """Pick the best network of FRONT, a pareto.json or its folder, that a board can run within a goal.

    Best is the highest validation mIoU. Says why, what comes next, and the command that builds it. Exit code 1 where
    none fits, with what would be needed. Milliseconds are told only by a timing measured on the board itself.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.choose.fit import Goal, find_fit
    from nanou_deploy.choose.front import with_costs
    from nanou_deploy.measure.timing import load_timing
    from nanou_train.search.pareto import read_front

    measured = load_timing(timing) if timing else None
    wanted = Goal(max_ram_bytes=max_ram, max_flash_bytes=max_flash, **goal)
    folder = front if front.is_dir() else front.parent
    place = find_board(board)
    points = with_costs(read_front(front), place, folder, progress=progress)
    found = find_fit(points, place, wanted, measured, folder=folder)
    if as_json:
        emit_json("fit/1", _as_json(found, folder))
    else:
        remark_masks(points)
        _print(found, folder)
    return EXIT_OK if found.chosen else EXIT_ERROR


def _as_json(found: Fit, folder: Path) -> dict[str, Any]:
    def plain(verdict: Verdict | None) -> dict[str, Any] | None:
        if verdict is None:
            return None
        command = shlex.join(_command(found, folder, verdict))
        return {**as_dict(verdict), "point": verdict.point.to_json(), "command": command}

    return {
        "budget": found.budget,
        "chosen": plain(found.chosen),
        "runner_up": plain(found.runner_up),
        "needed": found.needed,
        "candidates": [
            {"name": one.point.name, "cost": one.cost, "violations": one.violations} for one in found.verdicts
        ],
    }


def _print(found: Fit, folder: Path) -> None:
    say(f"{found.budget.board}", bold=True)
    for reason in found.budget.reasons:
        say(f"  {reason}")
    columns = ["Network", "mIoU val", "int8 test", "Instructions", "RAM", "Flash"]
    if found.budget.cycles:
        columns.append("may take, cycles each")
    if found.budget.us_per_instruction:
        columns.append("ms")
    emit_table((*columns, "Verdict"), (_row(one, found) for one in found.verdicts), right=range(1, len(columns)))
    if chosen := found.chosen:
        say(f"chosen: {chosen.point.name}, the highest validation mIoU of those that fit")
        if other := found.runner_up:
            less = 100 * (chosen.point.miou - other.point.miou)
            say(
                f"runner-up: {other.point.name}, {less:.1f} points less, for "
                f"{100 * other.cost.instructions / chosen.cost.instructions:.0f} % of its instructions"
            )
        next_step(*_command(found, folder, chosen))
    else:
        say("none fits", fg="yellow")
        for words in found.needed:
            say(f"  {words}")


def _row(one: Verdict, found: Fit) -> list[str]:
    cells = [one.point.name, percent(one.point.val_miou), percent(one.point.int8_miou)]
    cells += [f"{number:,}" for number in (one.cost.instructions, one.cost.ram_bytes, one.cost.flash_bytes)]
    if found.budget.cycles:
        cells.append(f"{one.affordable_cycles_per_instruction or 0:.2f}")
    if found.budget.us_per_instruction:
        cells.append(f"{one.ms or 0:.1f}")
    verdict = "chosen" if one is found.chosen else "; ".join(one.violations) or "fits"
    return [*cells, verdict]


def _command(found: Fit, folder: Path, verdict: Verdict) -> list[str]:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.choose.fit import run_folder

    run = run_folder(folder, verdict.point).as_posix()
    verb = "generate" if find_board(found.budget.board).kind == "library" else "build"
    return ["nanou-deploy", verb, "--board", found.budget.board, "--model", run]
