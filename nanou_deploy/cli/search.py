"""`search`: find networks around a run's own that cost less, by compiling and training them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import (
    MOST,
    Count,
    DataFolder,
    FrameSize,
    Output,
    Real,
    Size,
    board_option,
    json_option,
    run_option,
    seed_option,
)
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, heading, next_step, said_when_interrupted, say, warn
from nanou_deploy.cli.output import progress as tell
from nanou_deploy.cli.training_output import training_progress

if TYPE_CHECKING:
    from nanou_deploy.choose.counted_search import Searched

SAMPLERS = ("nsga2", "tpe", "random")
DIMENSIONS = ("width", "depth", "kernel", "size", "pool", "skip")


class Rungs(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Epochs, rising: 2,6,18."""

    name = "EPOCHS,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(re.fullmatch(r"\s*\d{1,9}\s*", part) for part in parts):
            self.fail(f"{value!r} are no epochs: write for example 2,6,18", param, ctx)
        return tuple(int(part) for part in parts)


@click.command(short_help="Search networks that cost less and still see.")
@run_option("parent", "The completed run to vary.")
@click.option("--data", type=DataFolder(), help="The run's data set, if it is no longer where it was.")
@click.option("--output", type=Output(), default=Path("runs/search"), show_default=True, help="Its folder.")
@board_option("esp32c3", "Where it has to run.")
@click.option("--max-ram", type=Size(), help="Most working RAM, frames not counted: 8192 or 8KB.")
@click.option("--max-instructions", type=Count(), help="Most instructions of one inference: 4000000 or 4M.")
@click.option("--max-flash", type=Size(), help="Most code and tables.")
@click.option("--trials", type=click.IntRange(1, MOST), help="Of all workers together: 60.")
@click.option(
    "--workers", type=click.IntRange(1, MOST), default=1, show_default=True, help="Processes on this computer."
)
@click.option("--storage", default="", metavar="FILE|URL", help="Journal or database. Default: OUTPUT/journal.log.")
@click.option("--sampler", type=click.Choice(SAMPLERS), help="Who proposes: nsga2.")
@click.option("--vary", "vary", type=click.Choice(DIMENSIONS), multiple=True, help="Again for more: all.")
@click.option("--size", "sizes", type=FrameSize(), multiple=True, help="Size to try, such as 48x64; again for more.")
@click.option("--narrowest", type=Real(0, 1, min_open=True), help="Least width, as a share of the run's: 0.25.")
@click.option("--rungs", type=Rungs(), help="Epochs after which trials are compared: 2,6,18.")
@click.option("--eta", type=click.IntRange(2, MOST), help="One in ETA goes on from a rung: 2.")
@click.option("--finish", type=click.IntRange(0, MOST), help="How many to train to the end: 6.")
@click.option("--finish-epochs", type=click.IntRange(1, MOST), help="For how long. Default: half of the run's epochs.")
@seed_option()
@json_option
def search(as_json: bool, **options: Any) -> None:
    """Vary a run's network in width, depth, kernel, picture size, pooling and skip connections.

    What a candidate costs on the board is counted by compiling and running it; one that breaks a limit is not trained.
    The others get the run's weights and a short distillation, and only the best go on from rung to rung. The best of
    the front are then trained to the end and built: OUTPUT/points/NN are runs, OUTPUT/pareto.json and .html the front.

    What no option says is the run's experiment's, in its section `search`, or what the options' descriptions end with.

    Interrupted, the same command goes on. On other computers it joins in: with --storage, and OUTPUT on a shared disk.
    """
    found = _search(**_with_recipe(options))
    if as_json:
        emit_json("search/1", _as_json(found, options["output"]))
    else:
        _print(found, options["output"])


def _with_recipe(options: dict[str, Any]) -> dict[str, Any]:
    """Fill in, for options that were not given, what the run's experiment says of a search."""
    from nanou_train.runs import run_folder as run

    recipe = dict(run.configuration(run.read_manifest(options["parent"])).search)
    return recipe | {key: value for key, value in options.items() if key not in recipe or value not in (None, ())}


def _search(
    parent: Path,
    data: Path | None,
    output: Path,
    board: str,
    max_ram: int | None,
    max_instructions: int | None,
    max_flash: int | None,
    vary: tuple[Any, ...],
    sizes: tuple[tuple[int, int], ...],
    narrowest: float,
    workers: int,
    finish: int,
    finish_epochs: int | None,
    **study: Any,
) -> Searched:
    import os

    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # workers are what runs in parallel
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.choose.counted_search import CompiledCandidates, limits_of, search_with_costs
    from nanou_train.networks.cost import Limits
    from nanou_train.networks.fake_quant import requantization_of
    from nanou_train.networks.structure import structure_of
    from nanou_train.runs import run_folder as run
    from nanou_train.runs.claim import check_apart
    from nanou_train.search.search import SearchSettings
    from nanou_train.search.space import Space
    from nanou_train.training.teacher_views import CACHE

    find_board(board)
    check_apart(output, parent)
    student = run.load_student(parent)
    space = Space(structure_of(student), vary, narrowest, sizes=sizes)
    limits = Limits(max_ram, max_instructions, max_flash)
    name = output.resolve().name
    settings = SearchSettings(name=name, output=output, space=space, limits=limits_of(limits), **study)
    is_power = requantization_of(student) == "power_of_two"
    cache = output / CACHE
    candidates = CompiledCandidates(parent, data, cache, seed=settings.seed, board=board, power_of_two=is_power)
    heading(f"searching around {parent}: {settings.trials} trials, {workers} at a time")
    kept = f"{output} keeps all trials, unfinished ones up to their last epoch; the same command goes on"
    with said_when_interrupted(kept), training_progress() as progress:
        return search_with_costs(
            settings,
            candidates,
            limits,
            workers=workers,
            finish=finish,
            finish_epochs=finish_epochs,
            progress=progress,
            told=tell,
        )


def _as_json(found: Searched, output: Path) -> dict[str, Any]:
    return {
        "folder": output,
        "counts": as_dict(found.result.counts),
        "candidates": [{**as_dict(one), "structure": one.structure.to_json()} for one in found.result.candidates],
        "front": [one.number for one in found.result.front],
        "points": [point.to_json() for point in found.points],
        "dropped": [as_dict(one) for one in found.dropped],
    }


def _print(found: Searched, output: Path) -> None:
    counts, candidates = found.result.counts, found.result.candidates
    untrained = sum(not one.feasible for one in candidates)
    say(f"{counts.complete} of {counts.total} trials, {untrained} of them beyond a limit and not trained")
    if counts.failed:
        warn(f"{counts.failed} trials failed")
    emit_table(
        ("Trial", "Picture", "mIoU val", "Instructions", "RAM", "Flash"),
        (
            (
                one.number,
                f"{one.structure.input_shape[0]}x{one.structure.input_shape[1]}",
                f"{100 * one.miou:.1f}",
                *(f"{one.costs[name]:,.0f}" for name in ("instructions", "ram_bytes", "flash_bytes")),
            )
            for one in found.result.front
        ),
        right=range(2, 6),
    )
    if found.points:
        _print_points(found)
        say(f"{output / 'pareto.json'}: {len(found.points)} networks; look at {output / 'pareto.html'}")
        next_step("nanou-deploy", "fit", output, "--board", next(iter(found.points[0].costs)))
    for one in found.dropped:
        warn(f"not taken: {one.run}: {'; '.join(one.reasons)}")


def _print_points(found: Searched) -> None:
    """Print the trained points, and what they cost as built."""
    emit_table(
        ("Point", "mIoU val", "int8 test", "Instructions", "RAM", "Flash"),
        (
            (
                point.run,
                f"{100 * point.val_miou:.1f}",
                "-" if point.int8_miou is None else f"{100 * point.int8_miou:.1f}",
                f"{cost.instructions:,}",
                f"{cost.ram_bytes:,}",
                f"{cost.flash_bytes:,}",
            )
            for point in found.points
            for cost in point.costs.values()
        ),
        right=range(1, 6),
    )
