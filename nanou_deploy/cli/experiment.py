"""`experiment`, `migrate-config`, `model-size`, `bench-train`: experiments by name, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import data_option, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table
from nanou_deploy.cli.training_output import print_metrics, training_progress
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from nanou_train.training.train import TrainResult

config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="An experiments file. Default: config/experiments.yaml."
)


@click.command(short_help="Run named experiments, or list them.")
@config_option
@click.option("--experiment", "names", multiple=True, metavar="NAME", help="Which to run; again for more.")
@click.option("--list", "list_only", is_flag=True, help="Check the whole file and list what is in it.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the run folders. Default: its output_dir.")
@data_option
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another value for a key; again for more.")
@click.option("--seed", type=int, help="Default: the experiment's, which is 0 unless it says otherwise.")
@json_option
def experiment(
    config: Path | None,
    names: tuple[str, ...],
    list_only: bool,
    output: Path | None,
    data: Path | None,
    changes: tuple[str, ...],
    seed: int | None,
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
        with training_progress() as progress:
            results[name] = train_model(
                path, name, data_root=data, output_dir=output, seed=seed, progress=progress, **overrides
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
    click.secho(f"{name}: {result['status']}, {result['experiment_dir']}", bold=True)
    if sweep := _sweep(result):
        rows = (
            (row["name"], _per_cent(row["val_miou"]), _per_cent(row["test_miou"]), row["error"])
            for row in sweep["runs"]
        )
        emit_table(("Run, best first", "Validation mIoU %", "Test mIoU %", ""), rows, right=(1, 2))
    if result["final_metrics"]:
        print_metrics(result["final_metrics"])
    if result["error"]:
        click.secho(result["error"], fg="red", err=True)


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


@click.command(short_help="Turn an old configuration into an experiment file.")
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The experiment file to write.")
@click.option("--name", default="", help="Name of an experiment that has none. Default: the old file's.")
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
@json_option
def migrate_config(old: Path, output: Path, name: str, force: bool, as_json: bool) -> None:
    """Write OLD's settings in the new format, and say what means something else now.

    Old keys: model, epochs, batch_size, learning_rate, distillation, teacher_weights, alpha, temperature, nas,
    layers_to_monitor, nas_frequency.
    """
    from nanou_train.experiments.migrate import migrate_file, write_migration

    migration = migrate_file(old, name=name)
    write_migration(migration, old, output, force=force)
    if as_json:
        found = {"output": output, "experiments": migration.experiments, "warnings": migration.warnings}
        emit_json("migrate-config/1", found)
        return
    for warning in migration.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(f"{output}: {', '.join(migration.experiments)}")
    click.echo(f"next: nanou-deploy experiment --config {output} --list")


@click.command(short_help="Parameters and bytes of a network, in float and int8.")
@click.argument("models", nargs=-1, metavar="[PRESET|FILE|RUN]...")
@json_option
def model_size(models: tuple[str, ...], as_json: bool) -> None:
    """Count parameters and bytes of presets, saved models or runs; without a name, of all presets.

    Int8 bytes are the constants of the deployed network; for a run that is quantized, its .tflite file's too.
    """
    from nanou_train.networks.architectures import PRESETS

    rows = [_size_row(name) for name in models or PRESETS]
    if as_json:
        emit_json("model-size/1", {"models": rows})
        return
    columns = ("Model", "Parameters", "Trainable", "Float bytes", "Int8 parameters", "Int8 bytes", ".tflite bytes")
    keys = ("float_parameters", "trainable_parameters", "float_bytes", "int8_parameters", "int8_bytes", "tflite_bytes")
    shown = ((row["model"], *("-" if row[key] is None else f"{row[key]:,}" for key in keys)) for row in rows)
    emit_table(columns, shown, right=range(1, 7))


def _size_row(name: str) -> dict[str, Any]:
    from nanou_train.networks.architectures import PRESETS, create_model_from_config
    from nanou_train.networks.saving import load_model
    from nanou_train.networks.size import model_size
    from nanou_train.runs import run_folder as run

    path = Path(name)
    if name in PRESETS:
        model = create_model_from_config(name)
    else:
        model = run.load_student(path) if (path / run.MANIFEST).is_file() else load_model(path)
    tflite = path / "model.tflite"
    return {
        "model": name,
        **as_dict(model_size(model)),
        "tflite_bytes": tflite.stat().st_size if tflite.is_file() else None,
    }


@click.command(short_help="Measure training: images per second, and what limits them.")
@data_option
@click.option("--experiment", "name", default="default", show_default=True, help="Name in the experiments file.")
@config_option
@click.option("--cores", "cores", multiple=True, type=click.IntRange(1), help="Again for more. Default: 1 and all.")
@click.option("--steps", type=click.IntRange(1), default=60, show_default=True, help="Batches for each measurement.")
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
    results = measure(load_experiment(config or DEFAULT_CONFIG, name), data, chosen, steps)
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
