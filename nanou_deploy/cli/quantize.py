"""`quantize`: make an int8 model of a run's student."""

from __future__ import annotations

import re
from pathlib import Path

import click

from nanou_deploy.cli.options import (
    OBJECTIVES,
    PROBABILITY,
    DataFolder,
    Output,
    check_output,
    group_by_option,
    json_option,
    run_option,
)
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say


@click.command(short_help="Make a run's full-int8 .tflite file.")
@run_option()
@click.option("--data", type=DataFolder(), help="The run's data set, if it is no longer where it was.")
@click.option("--output", type=Output(is_file=True), help="Where to write. Default: RUN/model/model.tflite.")
@click.option(
    "--threshold",
    type=PROBABILITY,
    help="Probability from which on a pixel is drivable. Default: the experiment's.",
)
@click.option(
    "--choose-threshold",
    "objective",
    type=click.Choice(OBJECTIVES),
    default=None,
    help="Take the threshold with the best METRIC of the int8 model on the validation part.",
)
@group_by_option
@json_option
def quantize(
    run_folder: Path,
    data: Path | None,
    output: Path | None,
    threshold: float | None,
    objective: str | None,
    group_by: str,
    as_json: bool,
) -> None:
    """Convert a run's student to full-int8 TFLite, calibrated on the run's training images; write its card.

    The card has scores by sequence: those of the data set, or what --group-by says. With --output the model has that
    file's name. The threshold goes into the model's contract, and from there into the firmware, as an int8 constant.
    """
    from codegen.tflite.files import save_model
    from nanou_deploy.report.model_card import write_card
    from nanou_train.data.splits import regrouped
    from nanou_train.runs import run_folder as run
    from nanou_train.runs.int8_model import int8_path, save_int8
    from nanou_train.runs.interrupts import interrupts_repeated
    from nanou_train.runs.quantize_run import quantize_run
    from nanou_train.runs.threshold import with_threshold

    if threshold is not None and objective:
        raise click.UsageError("--threshold and --choose-threshold exclude each other")
    target = output or check_output(int8_path(run_folder), is_file=True)
    with said_when_interrupted(f"{target} is as it was; the same command makes it"):
        dataset = regrouped(run.run_dataset(run.read_manifest(run_folder), data), group_by)
        with interrupts_repeated(lambda _message, _done: None):  # the converter may swallow one
            model = quantize_run(run_folder, name=_name(output), dataset=dataset)
        if threshold is not None or objective:
            model = with_threshold(model, dataset, threshold=threshold, objective=objective or "")
        if output is None:
            save_int8(run_folder, model)
        else:
            save_model(model, output)
        cards = write_card(model, target)
    if as_json:
        size_bytes = len(model.flatbuffer)
        facts = {"model": target, "sha256": model.sha256, "size_bytes": size_bytes, "threshold": model.threshold}
        facts |= {"cards": cards}
        emit_json("quantize/1", facts)
    else:
        say(f"{target}: {len(model.flatbuffer):,} bytes, threshold {model.threshold:g}, sha256 {model.sha256[:16]}")
        say(f"{cards[-1]}: its card")
        next_step("nanou-deploy", "build", "--board", "esp32s3", "--model", output or run_folder)


def _name(output: Path | None) -> str:
    """Return the model's name: as its file's, in what C identifiers and file names share; empty for the run's own."""
    return re.sub(r"[^A-Za-z0-9]+", "_", output.stem).strip("_")[:60] if output else ""
