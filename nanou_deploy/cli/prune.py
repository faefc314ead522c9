"""`prune`: narrow a run's network and distil it again, or remove what has no effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import (
    MOST,
    PROBABILITY,
    DataFolder,
    Output,
    board_option,
    force_run_option,
    json_option,
    run_option,
    seed_option,
)
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, next_step, said_when_interrupted, say
from nanou_deploy.cli.training_output import print_metrics, training_progress, worth_quantizing

if TYPE_CHECKING:
    from nanou_train.pruning.budget import CostFunction
    from nanou_train.pruning.prune_run import Round

CRITERIA = ("taylor", "batch_norm", "redundancy", "random")


@click.command(short_help="Remove channels from a run's network and distil it again.")
@run_option()
@click.option("--output", type=Output(), help="Folder of the new run. Not needed with --dry-run.")
@click.option("--to", type=PROBABILITY, help="The share of the cost that is left: 0.5.")
@click.option("--criterion", type=click.Choice(CRITERIA), help="How channels are scored: taylor.")
@click.option(
    "--layers",
    type=click.Choice(["greedy", "uniform"]),
    help="Take channels where least is lost for what is saved (greedy), or from all layers alike.",
)
@click.option("--rounds", type=click.IntRange(1, MOST), help="Cuts, each followed by training: 3.")
@click.option(
    "--epochs", type=click.IntRange(1, MOST), help="Of each round but the last. Default: a tenth of the run's."
)
@click.option("--final-epochs", type=click.IntRange(1, MOST), help="Of the last round. Default: half of the run's.")
@click.option(
    "--cost",
    "measure",
    type=click.Choice(["macs", "instructions"]),
    default="macs",
    show_default=True,
    help="What --to is a share of. Instructions are counted on --board, some ten times for each cut.",
)
@board_option("esp32c3")
@click.option("--data", type=DataFolder(), help="The run's data set, if it is no longer where it was.")
@seed_option()
@click.option("--exact", is_flag=True, help="Remove only what has no effect at all, and train nothing.")
@click.option("--dry-run", is_flag=True, help="Show one cut without training, and write nothing.")
@force_run_option
@json_option
def prune(
    run_folder: Path,
    output: Path | None,
    measure: str,
    board: str,
    data: Path | None,
    seed: int,
    exact: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Narrow the network of a completed run to a share of what it costs, and distil it again.

    What it leaves is a run like any other: quantize, build and train --from take it. The same command goes on where it
    was interrupted. With --exact the network stays the same function: channels, skips, levels and blocks go that no
    input can make a difference in. What no option says is the run's experiment's, in its section `prune`, or what the
    options' descriptions end with.
    """
    from nanou_train.pruning.prune_run import PruneSettings, open_source, preview_cut, prune_run
    from nanou_train.runs import run_folder as run

    if output is None and not dry_run:
        raise click.UsageError("Missing option '--output' (or --dry-run).")
    if exact:
        _simplify(run_folder, None if dry_run else output, data, force, as_json)
        return
    stated = run.configuration(run.read_manifest(run_folder)).prune.model_dump()
    settings = PruneSettings(
        **stated | {key: value for key, value in recipe.items() if value is not None},
        cost=measure if measure == "macs" else f"{measure} on {board}",
        seed=seed,
    )
    cost = cost_function(measure, board)
    if output is None or dry_run:
        cut = preview_cut(open_source(run_folder, data_root=data, cost=cost), settings)
        if as_json:
            emit_json("prune/1", {"output": None, "settings": settings.model_dump(), "rounds": [as_dict(cut)]})
        else:
            print_cuts([cut])
        return
    kept = f"{output} keeps each finished epoch; the same command goes on"
    with said_when_interrupted(kept), training_progress() as progress:
        result = prune_run(run_folder, output, settings, data_root=data, cost=cost, force=force, progress=progress)
    if as_json:
        rounds = [as_dict(one) for one in result.rounds]
        found = {"output": output, "settings": settings.model_dump(), "rounds": rounds, "final_metrics": result.metrics}
        emit_json("prune/1", found)
        return
    print_cuts(result.rounds)
    print_metrics(result.metrics)
    if worth_quantizing(result.metrics):
        next_step("nanou-deploy", "quantize", "--run", output)


def cost_function(measure: str, board: str) -> CostFunction:
    """Return what counts a structure's MACs or instructions on a board. Raises DeployError or ToolMissing."""
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.measure.costing import check_counting, cost_of_structure
    from nanou_train.networks.channel_graph import structure_macs

    if measure == "macs":
        return structure_macs
    counted_on = find_board(board)
    check_counting(counted_on)
    return lambda structure: float(cost_of_structure(structure, counted_on).instructions)


def _simplify(run_folder: Path, output: Path | None, data: Path | None, force: bool, as_json: bool) -> None:
    from nanou_train.networks.structure import structure_of
    from nanou_train.simplify.simplify_run import simplify_run

    found = simplify_run(run_folder, output, data_root=data, force=force)
    if as_json:
        facts = {key: getattr(found, key) for key in ("channels", "parts", "kept", "other_grids")}
        emit_json("prune/1", {"output": output, **facts, "structure": structure_of(found.model).to_json()})
        return
    for part in found.parts:
        say(f"gone: {part}")
    rows = ((one.block, one.channel, one.kind, "" if one.twin is None else one.twin) for one in found.channels)
    if found.channels:
        emit_table(("Block", "Channel", "Why", "Same as"), rows, right=(1, 3))
    if not found.channels and not found.parts:
        say("nothing is without effect")
    if found.other_grids:
        say(f"int8 grids change in {', '.join(found.other_grids)}: the largest weight of a channel went")
    if output is not None:
        next_step("nanou-deploy", "quantize", "--run", output)


def print_cuts(rounds: Sequence[Round]) -> None:
    """Channels and cost of each layer from the first to the last round, then what each round did to mIoU."""
    from nanou_train.networks.channel_graph import producer_layer, readers

    first, last = rounds[0].before, rounds[-1].after
    rows = [
        (
            producer_layer(first, one.name) if one.name in rounds[0].ranks else one.name,
            f"{one.width}",
            f"{other.width}",
            f"{rounds[0].ranks[one.name]:.1f}" if one.name in rounds[0].ranks else "-",
            f"{one.macs:,}",
            f"{other.macs:,}",
        )
        for one, other in zip(readers(first), readers(last), strict=True)
    ]
    columns = ("Layer", "Channels", "Left", "Effective rank", "MACs", "Left")
    emit_table(columns, rows, right=range(1, 6))
    steps = (
        (
            number,
            f"{one.cost_before:,.0f}",
            f"{one.cost_after:,.0f}",
            f"{one.cost_after / rounds[0].cost_before:.1%}",
            *(f"{100 * miou:.1f}" if miou is not None else "-" for miou in (one.miou_before, one.miou_cut)),
            "-" if one.miou_trained is None else f"{100 * one.miou_trained:.1f}",
        )
        for number, one in enumerate(rounds, start=1)
    )
    heads = ("Round", "Cost", "Left", "Of all", "Validation mIoU %", "After the cut", "Distilled again")
    emit_table(heads, steps, right=range(7))
