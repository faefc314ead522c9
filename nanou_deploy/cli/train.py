"""`train`: train a student, distilled from a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nanou_deploy.cli.completion import complete_experiments
from nanou_deploy.cli.options import (
    MOST,
    Existing,
    FrameSize,
    Output,
    data_option,
    force_run_option,
    json_option,
    seed_option,
)
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say
from nanou_deploy.cli.training_output import LivePage, print_metrics, training_progress, worth_quantizing

SHIPPED = "offroad"


class Start(Existing):
    """Parses where to start from: a run, a .keras file, or `offroad`, the shipped student."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if str(value) == SHIPPED and not Path(SHIPPED).exists():
            from nanou_deploy.build.library import model_path

            return model_path(None).with_suffix(".keras")
        return super().convert(value, param, ctx)


@click.command(short_help="Train a student, distilled from a teacher.")
@data_option
@click.option(
    "--experiment",
    shell_complete=complete_experiments,
    default="default",
    show_default=True,
    help="Name in config/experiments.yaml.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Another experiments file.")
@click.option("--output", type=Output(), default=Path("runs/default"), show_default=True, help="Run folder.")
@click.option("--size", type=FrameSize(), help="Height and width of the model's input, such as 48x64.")
@click.option("--epochs", type=click.IntRange(1, MOST), help="Epochs of the student instead of the experiment's.")
@click.option(
    "--from",
    "start_from",
    type=Start(),
    metavar="RUN|FILE|offroad",
    help="Go on with a run's student, a saved one (.keras), or the one that comes with nanou-deploy.",
)
@click.option("--freeze", type=click.Choice(["nothing", "encoder"]), help="What of it to leave as it is.")
@click.option(
    "--soft-masks",
    type=Existing(),
    help="Folder of any program's soft masks of the pictures, in place of a teacher; each picture is asked once.",
)
@click.option(
    "--unlabelled",
    type=Existing(),
    help="Folder of pictures without masks: the student learns what its teacher says of them.",
)
@seed_option(None, "Default: the experiment's, which is 0 unless it says otherwise.")
@force_run_option
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
    soft_masks: Path | None,
    unlabelled: Path | None,
    seed: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a student, distilled from a teacher, and leave the run in a folder.

    OUTPUT/training.html shows it while it goes on: open it in a browser.

    The same command goes on where it was interrupted, and takes a run that is complete as it is.
    """
    from nanou_deploy.errors import DeployError
    from nanou_train.experiments.experiment_file import DEFAULT_CONFIG
    from nanou_train.training.train import train_model

    given: dict[str, Any] = {"input_size": size, "epochs": epochs, "start_from": start_from, "freeze": freeze}
    given["data.unlabelled"] = unlabelled
    overrides = {key: value for key, value in given.items() if value is not None}
    if soft_masks is not None:
        overrides |= {"teacher.soft_masks": soft_masks, "distillation.views": 1, "distillation.blend": 0.0}
    kept = f"{output} keeps each finished epoch; the same command goes on"
    page = LivePage(output)
    with said_when_interrupted(kept), training_progress() as progress, page.watching(progress) as watched:
        result = train_model(
            config or DEFAULT_CONFIG,
            experiment,
            data_root=data,
            output_dir=output.parent,
            run_name=output.name,
            seed=seed,
            force=force,
            progress=watched,
            **overrides,
        )
    if result["status"] != "completed":
        raise DeployError(f"training {result['status']}: {result['error']}")
    if as_json:
        emit_json("train/1", {key: result[key] for key in ("status", "model_path", "final_metrics", "experiment_dir")})
        return
    print_metrics(result["final_metrics"])
    if page.path.is_file():
        say(f"{page.path}: epoch by epoch")
    trained = result["model_path"]
    if worth_quantizing(result["final_metrics"]):
        next_step("nanou-deploy", "quantize", "--run", output if trained is None else trained.parent)
