"""`runs`: list training runs, and compare two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.completion import complete_runs
from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import emit_json, emit_table, percent, say

if TYPE_CHECKING:
    from nanou_train.runs.run_summary import Difference, RunSummary

_COST_BOARD = "rv32-qemu"


@click.command(short_help="List training runs; compare two.")
@click.argument("folders", shell_complete=complete_runs, type=click.Path(path_type=Path), nargs=-1)
@json_option
def runs(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the runs in and below FOLDER (default: runs): status, epoch, scores, network, size, instructions if counted.

    Of two run folders, say what differs in configuration, data and scores. Scores are mIoU in percent, on the
    validation part and on the test part.
    """
    from nanou_deploy.errors import DeployError
    from nanou_train.runs.run_summary import find_runs, summarize_run

    if len(folders) > 2:
        raise click.UsageError("give one folder to list the runs in it, or two runs to compare")
    if len(folders) == 2:
        _compare(*folders, as_json=as_json)
        return
    root = folders[0] if folders else Path("runs")
    if not root.is_dir() and not folders:
        raise DeployError("there is no folder runs here", hint="give the folder that runs are in")
    found = [summarize_run(folder) for folder in find_runs(root)]
    costs = {one.folder: _instructions(one) for one in found}
    if as_json:
        listed = [one.as_json() | {"instructions": costs[one.folder]} for one in found]
        emit_json("runs/1", {"folder": root, "runs": listed, "instructions_board": _COST_BOARD})
        return
    if not found:
        say(f"no runs in {root}")
        return
    columns = ("Run", "Status", "Epoch", "Val", "Test", "int8", "Network", "Data", "Bytes", "Instructions")
    emit_table(columns, [_row(one, root, costs[one.folder]) for one in found], right=(2, 3, 4, 5, 8, 9))
    counted = f"{len(found)} run{'s' * (len(found) != 1)}"
    say(f"{counted}; mIoU in percent; instructions of one inference on {_COST_BOARD}, where they were counted")


def _row(one: RunSummary, root: Path, instructions: int | None) -> tuple[object, ...]:
    name = one.folder.relative_to(root).as_posix() if one.folder != root else one.folder.name
    epoch = "-" if one.epoch is None else f"{one.epoch}/{one.epochs}" if one.epochs else one.epoch
    scores = (percent(one.miou_val), percent(one.miou_test), percent(one.miou_int8))
    return (
        name, one.status, epoch, *scores, one.network, one.data,
        "-" if one.size_bytes is None else f"{one.size_bytes:,}", "-" if instructions is None else f"{instructions:,}",
    )  # fmt: skip


def _instructions(one: RunSummary) -> int | None:
    """Return what one inference of its int8 model costs, where that was counted before."""
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.library import open_model
    from nanou_deploy.errors import INTENDED_ERRORS
    from nanou_deploy.measure.costing import known_cost

    if one.size_bytes is None:
        return None
    try:
        cost = known_cost(open_model(one.folder), find_board(_COST_BOARD))
    except INTENDED_ERRORS:
        return None
    return cost.instructions if cost else None


def _compare(first: Path, second: Path, *, as_json: bool) -> None:
    from nanou_train.runs.run_summary import compare_runs, summarize_run

    differences = compare_runs(first, second)
    both = [summarize_run(folder) for folder in (first, second)]
    if as_json:
        emit_json("runs/1", {"runs": [one.as_json() for one in both], "differences": differences})
        return
    emit_table(("Key", first.name, second.name), [_difference(one) for one in differences])
    if not differences:
        say("configuration, data and versions are the same")
    scores = {"validation": "miou_val", "test": "miou_test", "int8 test": "miou_int8", "constant mask": "miou_constant"}
    rows = [(name, *(getattr(one, field) for one in both)) for name, field in scores.items()]
    table = [(name, percent(a), percent(b), _gain(a, b)) for name, a, b in rows]
    emit_table(("mIoU %", first.name, second.name, "Difference"), table, right=(1, 2, 3))
    if both[0].data != both[1].data or any(one.key.startswith("data.test") for one in differences):
        say("the test parts differ, so that scores on them do not compare")


def _difference(one: Difference) -> tuple[str, str, str]:
    def shown(value: Any) -> str:
        text = "-" if value is None else str(value)
        return text if len(text) <= 24 else text[:23] + "…"

    return one.key, shown(one.first), shown(one.second)


def _gain(first: float | None, second: float | None) -> str:
    return "-" if first is None or second is None else f"{100 * (second - first):+.1f}"
