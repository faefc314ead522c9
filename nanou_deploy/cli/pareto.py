"""`pareto`: gather finished runs into a front of networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import DataFolder, Output, counting_boards_option, json_option
from nanou_deploy.cli.output import emit_json, emit_table, percent, progress, remark, say

if TYPE_CHECKING:
    from nanou_train.search.pareto import Front


@click.command(short_help="Gather finished runs into a front: pareto.json and pareto.html.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@counting_boards_option
@click.option("--output", type=Output(), required=True, help="Folder for pareto.json and .html.")
@click.option("--data", type=DataFolder(), help="The runs' data set, if it is no longer where it was.")
@json_option
def pareto(runs: tuple[Path, ...], boards: tuple[str, ...], output: Path, data: Path | None, as_json: bool) -> None:
    """Make a front of run folders: scores and costs of each, and a page that shows them.

    RUNS are completed runs of `train`, `prune` or `search`; one without int8 model is quantized first. Runs that
    differ in their seed alone count as one network. Costs are counted as by `cost`.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.choose.front import PAGE, gather_front
    from nanou_train.search.pareto import FRONT

    chosen = [find_board(name) for name in dict.fromkeys(boards)]
    front = gather_front(runs, chosen, output, data_root=data, progress=progress)
    if as_json:
        points = [point.to_json() for point in front.points]
        emit_json("pareto/1", {"file": output / FRONT, "page": output / PAGE, "boards": front.boards, "points": points})
        return
    print_front(front)
    say(f"{output / FRONT}: {len(front.points)} networks; look at {output / PAGE}")


def remark_masks(front: Front) -> None:
    """Say where scores are against masks of several sizes."""
    if len(front.masks_px) > 1:
        sizes = ", ".join(f"{height}x{width}" for height, width in front.masks_px)
        remark(f"scores are against masks of {sizes}, so those of networks of other picture sizes do not compare")


def print_front(front: Front) -> None:
    """Print all points with their costs on each board, and which are on the front there."""
    from nanou_train.search.pareto import non_dominated, objectives_of

    remark_masks(front)
    best = {board: non_dominated(front.points, objectives_of(board)) for board in front.boards}
    columns = ("Network", "Made by", "mIoU val", "int8 test", "Board", "Instructions", "RAM", "Flash", "On the front")
    emit_table(
        columns,
        (
            (
                point.name,
                point.made_by,
                percent(point.val_miou),
                percent(point.int8_miou),
                board,
                f"{point.costs[board].instructions:,}",
                f"{point.costs[board].ram_bytes:,}",
                f"{point.costs[board].flash_bytes:,}",
                "yes" if point in best[board] else "",
            )
            for board in front.boards
            for point in front.points
        ),
        right=(2, 3, 5, 6, 7),
    )
