"""`bench-train`: measure training, images per second."""

from __future__ import annotations

from pathlib import Path

import click

from nanou_deploy.cli.completion import complete_experiments
from nanou_deploy.cli.options import MOST, config_option, data_option, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, progress


@click.command(short_help="Measure training: images per second, and what limits them.")
@data_option
@click.option(
    "--experiment",
    "name",
    shell_complete=complete_experiments,
    default="default",
    show_default=True,
    help="Name in the experiments file.",
)
@config_option
@click.option(
    "--cores", "cores", multiple=True, type=click.IntRange(1, MOST), help="Again for more. Default: 1 and all."
)
@click.option(
    "--steps", type=click.IntRange(1, MOST), default=60, show_default=True, help="Batches for each measurement."
)
@json_option
def bench_train(
    data: Path | None, name: str, config: Path | None, cores: tuple[int, ...], steps: int, as_json: bool
) -> None:
    """Measure preparing data, the training step, and both together, on one core and on all.

    Other programs that are running make the numbers smaller.
    """
    from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, load_experiment
    from nanou_train.training.benchmark import available_cores, measure

    chosen = cores or tuple(sorted({1, available_cores()}))
    results = measure(load_experiment(config or DEFAULT_CONFIG, name), data, chosen, steps, progress)
    if as_json:
        emit_json("bench-train/1", {"experiment": name, "steps": steps, "results": [as_dict(one) for one in results]})
        return
    columns = ("Cores", "Preparing img/s", "Step img/s", "Together img/s", "Busy cores", "Images", "Epoch s")
    rows = (
        (
            one.cores,
            f"{one.preparation_images_per_s:,.0f}",
            f"{one.step_images_per_s:,.0f}",
            f"{one.images_per_s:,.0f}",
            f"{one.busy_cores:.2f}",
            f"{one.images:,}",
            f"{one.epoch_s:.1f}",
        )
        for one in results
    )
    emit_table(columns, rows, right=range(7))
