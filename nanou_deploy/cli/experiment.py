"""`experiment`: run named experiments, or list them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.completion import complete_experiments
from nanou_deploy.cli.options import Output, config_option, data_option, force_run_option, json_option, seed_option
from nanou_deploy.cli.output import emit_json, emit_table, note, percent, said_when_interrupted, say
from nanou_deploy.cli.training_output import print_metrics, training_progress
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from nanou_train.training.train import TrainResult


@click.command(short_help="Run named experiments, or list them.")
@config_option
@click.option(
    "--experiment",
    "names",
    shell_complete=complete_experiments,
    multiple=True,
    metavar="NAME",
    help="Which to run; again for more.",
)
@click.option("--list", "list_only", is_flag=True, help="Check the whole file and list what is in it.")
@click.option("--output", type=Output(), help="Folder of the run folders. Default: its output_dir.")
@data_option
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another value for a key; again for more.")
@seed_option(None, "Default: the experiment's, which is 0 unless it says otherwise.")
@force_run_option
@json_option
def experiment(
    config: Path | None,
    names: tuple[str, ...],
    list_only: bool,
    output: Path | None,
    data: Path | None,
    changes: tuple[str, ...],
    seed: int | None,
    force: bool,
    as_json: bool,
) -> int:
    """Run experiments one after the other, each into OUTPUT/NAME, and compare them.

    A sweep leaves one run folder for each of its points. Exit code 1 where a run failed or missed a constraint; the
    others run all the same.
    """
    from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, read_experiments
    from nanou_train.training.train import train_model

    path = config or DEFAULT_CONFIG
    if list_only or not names:
        return _list(path, as_json)
    overrides, file = _overrides(changes), read_experiments(path)
    for name in names:
        file.load(name, overrides)  # a mistake in the last name is found before the first has run
    results: dict[str, TrainResult] = {}
    for name in names:
        kept = f"{name} keeps each finished epoch; the same command goes on"
        with said_when_interrupted(kept), training_progress() as progress:
            results[name] = train_model(
                path, name, data_root=data, output_dir=output, seed=seed, force=force, progress=progress, **overrides
            )
    if as_json:
        emit_json("experiment/1", {"runs": results, "sweeps": {name: _sweep(one) for name, one in results.items()}})
    else:
        for name, one in results.items():
            _print_result(name, one)
    return EXIT_OK if all(one["status"] == "completed" for one in results.values()) else EXIT_ERROR


def _overrides(changes: Iterable[str]) -> dict[str, Any]:
    """Split KEY=VALUE; the value is read as YAML."""
    from nanou_train.yaml_file import parse_yaml

    found: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {change}: write KEY=VALUE")
        found[key] = parse_yaml(value, f"--set {change}").values
    return found


def _list(path: Path, as_json: bool) -> int:
    from nanou_train.experiments.experiment_file import read_experiments
    from nanou_train.experiments.keys import flat, sweep_points

    file = read_experiments(path)
    loaded, parents = {name: file.load(name) for name in file.experiments}, file.parents
    if as_json:
        listed = {
            name: {"extends": parents[name], **flat(one), **one.model_dump(mode="json", exclude={"sweep"})}
            for name, one in loaded.items()
        }
        emit_json("experiments/1", {"config": path, "experiments": listed})
        return EXIT_OK
    columns = ("Experiment", "Extends", "Student", "Teacher", "Epochs", "Rounding", "NAS", "Runs")
    rows = (
        (
            name,
            parents[name] or "-",
            one.student.preset,
            one.teacher.preset if one.distillation.enabled else "-",
            one.student.epochs,
            "yes" if one.student.quantization.aware else "-",
            "yes" if one.run.nas.enabled else "-",
            len(sweep_points(one)) or 1,
        )
        for name, one in loaded.items()
    )
    emit_table(columns, rows, right=(4, 7))
    return EXIT_OK


def _sweep(result: TrainResult) -> Any:
    path = result["experiment_dir"] / "sweep.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _print_result(name: str, result: TrainResult) -> None:
    say(f"{name}: {result['status']}, {result['experiment_dir']}", bold=True)
    if sweep := _sweep(result):
        rows = (
            (row["name"], percent(row["val_miou"]), percent(row["test_miou"]), row["error"]) for row in sweep["runs"]
        )
        emit_table(("Run, best first", "Validation mIoU %", "Test mIoU %", ""), rows, right=(1, 2))
    if result["final_metrics"]:
        print_metrics(result["final_metrics"])
    if result["error"]:
        note(result["error"], fg="red")
