"""`train`, `quantize`: from images and masks to an int8 model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nanou_deploy.cli.options import FrameSize, json_option
from nanou_deploy.cli.output import emit_json, emit_table

METRIC_NAMES = ("miou", "iou_drivable", "iou_background", "f1", "precision", "recall")
AVERAGED = ("miou", "f1", "precision", "recall")  # shown in any case; with other classes, the IoU of each as well

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set ROOT/{train,val,test}/{img,mask}. Default: embedded terrain.",
)


def training_progress() -> Any:
    """A progress line on stderr that is rewritten in place on a terminal and thinned out elsewhere."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    percentage, message = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}")
    columns = (BarColumn(28), percentage, TimeRemainingColumn(), message)
    bar = Progress(*columns, console=console, transient=True) if sys.stderr.isatty() else None
    return _Reporter(bar)


class _Reporter:
    """Callable (message, done in 0..1), and a context that owns the terminal's line."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._task, self._shown = bar, None, -1

    def __enter__(self) -> _Reporter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: str, done: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=message)
        elif int(done * 10) != self._shown:
            self._shown = int(done * 10)
            click.echo(f"  {done:4.0%}  {message}", err=True)


@click.command(short_help="Train a student, distilled from a teacher.")
@data_option
@click.option("--experiment", default="default", show_default=True, help="Name in config/experiments.yaml.")
@click.option("--config", type=click.Path(path_type=Path), help="Another experiments file.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs/default"), show_default=True, help="Run folder."
)
@click.option("--size", type=FrameSize(), help="Height and width of the model's input, such as 48x64.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of the student instead of the experiment's.")
@click.option("--from", "start_from", type=click.Path(path_type=Path), help="Go on with this run's student.")
@click.option("--freeze", type=click.Choice(["nothing", "encoder"]), help="What of it to leave as it is.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def train(
    data: Path | None,
    experiment: str,
    config: Path | None,
    output: Path,
    size: tuple[int, int] | None,
    epochs: int | None,
    start_from: Path | None,
    freeze: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train Nano-U, distilled from a BU-Net teacher, and leave the run in a folder."""
    from nanou_deploy.errors import DeployError
    from nanou_train.experiments.experiment_file import DEFAULT_CONFIG
    from nanou_train.training.train import train_model

    given = {"input_size": size, "epochs": epochs, "start_from": start_from, "freeze": freeze}
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with training_progress() as progress:
        result = train_model(
            config or DEFAULT_CONFIG,
            experiment,
            data_root=data,
            output_dir=output.parent,
            run_name=output.name,
            seed=seed,
            progress=progress,
            **overrides,
        )
    if result["status"] != "completed":
        raise DeployError(f"training {result['status']}: {result['error']}")
    if as_json:
        emit_json("train/1", {key: result[key] for key in ("status", "model_path", "final_metrics", "experiment_dir")})
        return
    print_metrics(result["final_metrics"])
    trained = result["model_path"]
    click.echo(f"next: nanou-deploy quantize --run {output if trained is None else trained.parent}")


def print_metrics(rows: Mapping[str, Mapping[str, float]]) -> None:
    """One line per predictor, in per cent: two classes have METRIC_NAMES, more have AVERAGED and the IoU of each."""
    found = [name for name in next(iter(rows.values())) if name.startswith("iou_")]
    names = METRIC_NAMES if set(found) < set(METRIC_NAMES) else (AVERAGED[0], *found, *AVERAGED[1:])
    columns = ("", *(name.replace("_", " ") for name in names))
    lines = (
        (role.replace("_", " "), *(f"{100 * metrics[name]:.1f}" for name in names)) for role, metrics in rows.items()
    )
    emit_table(columns, lines, right=range(1, len(columns)))


@click.command(short_help="Make a run's full-int8 .tflite file.")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True, help="A completed run's folder.")
@click.option("--data", type=click.Path(path_type=Path), help="The run's data set, if it is no longer where it was.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write. Default: RUN/model.tflite.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Probability from which on a pixel is drivable. Default: the experiment's.",
)
@click.option(
    "--choose-threshold",
    "objective",
    type=click.Choice(["miou", "f1", "f05", "f2", "iou_drivable"]),
    default=None,
    help="Take the threshold with the best METRIC of the int8 model on the validation part.",
)
@json_option
def quantize(
    run_folder: Path,
    data: Path | None,
    output: Path | None,
    threshold: float | None,
    objective: str | None,
    as_json: bool,
) -> None:
    """Convert a run's student to full-int8 TFLite, calibrated on the run's training images.

    The threshold goes into the model's contract, and from there into the firmware, as an int8 constant.
    """
    from codegen.tflite.files import save_model
    from nanou_train.runs import run_folder as run
    from nanou_train.runs.quantize_run import quantize_run
    from nanou_train.runs.threshold import with_threshold

    if threshold is not None and objective:
        raise click.UsageError("--threshold and --choose-threshold exclude each other")
    dataset = run.run_dataset(run.read_manifest(run_folder), data)
    model = quantize_run(run_folder, dataset=dataset)
    if threshold is not None or objective:
        model = with_threshold(model, dataset, threshold=threshold, objective=objective or "")
    target = output or run_folder / "model.tflite"
    save_model(model, target)
    if as_json:
        size_bytes = len(model.flatbuffer)
        facts = {"model": target, "sha256": model.sha256, "size_bytes": size_bytes, "threshold": model.threshold}
        emit_json("quantize/1", facts)
    else:
        click.echo(
            f"{target}: {len(model.flatbuffer):,} bytes, threshold {model.threshold:g}, sha256 {model.sha256[:16]}"
        )
        click.echo(f"next: nanou-deploy build --board esp32s3 --model {output or run_folder}")
