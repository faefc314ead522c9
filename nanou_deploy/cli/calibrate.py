"""`calibrate`: choose a model's decision threshold for another place, by a few labelled pictures from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import OBJECTIVES, Output, json_option, model_option
from nanou_deploy.cli.output import emit_json, next_step, percent, said_when_interrupted, say
from nanou_deploy.cli.source_options import source_options
from nanou_deploy.errors import UsageMistake

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel
    from nanou_train.data.sources import AnnotationFiles, MaskFolders
    from nanou_train.runs.calibrate import Calibrated


@click.command(short_help="Fit a model's threshold to a new place.")
@model_option
@source_options
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default="miou",
    show_default=True,
    help="What the threshold has to be best at.",
)
@click.option(
    "--output",
    type=Output(is_file=True),
    help="Write the model to this .tflite file, with its sidecar. Default: the model's own sidecar.",
)
@json_option
def calibrate(
    model: Path | None,
    source: MaskFolders | AnnotationFiles,
    objective: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find the probability from which on a pixel counts as drivable, by labelled pictures of the place to drive in.

    Weights stay as they are. It takes five pictures at least, better twenty. The threshold is changed only if that also
    gains on pictures that had no part in choosing it, and more than by chance.
    """
    from nanou_deploy.build.library import is_shipped, model_path, open_model
    from nanou_deploy.cli.training_output import training_progress
    from nanou_deploy.evaluate.executors import predictor
    from nanou_train.runs.calibrate import calibrate as find
    from nanou_train.runs.calibrate import read_pictures

    if is_shipped(model) and output is None:
        raise UsageMistake(
            "a model that comes with nanou-deploy is not changed",
            hint="give --output FILE.tflite for a copy, or --model",
        )
    known, path = open_model(model), model_path(model)
    with said_when_interrupted(f"{output or path} is as it was"), training_progress() as progress:
        pictures = read_pictures(source, known, progress)
        found = find(known, predictor("int8", known, None), pictures, objective)
        written = _write(found.model if found.is_certain else known, path, output, changed=found.is_certain)
    if as_json:
        emit_json("calibrate/1", {**_facts(found), "written": written, "files": pictures.files.as_json()})
        return
    _print(found, written)


def _write(model: QuantizedModel, path: Path, output: Path | None, *, changed: bool) -> Path | None:
    """Write the copy that was asked for, or the sidecar that has changed; tell which file."""
    from codegen.tflite.files import save_model, save_sidecar
    from nanou_deploy.report.model_card import refresh_card

    if output is not None:
        save_model(model, output)
        return output
    if not changed:
        return None
    written = save_sidecar(model, path)
    refresh_card(model, path)
    return written


def _facts(found: Calibrated) -> dict[str, object]:
    return {
        "pictures": found.pictures,
        "objective": found.objective,
        "threshold": found.model.threshold if found.is_certain else found.threshold_before,
        "threshold_before": found.threshold_before,
        "threshold_found": found.model.threshold,
        "score_before": found.score_before,
        "score_found": found.score,
        "score_held_out": found.score_held_out,
        "gain_error": found.gain_error,
    }


def _print(found: Calibrated, written: Path | None) -> None:
    score = "mIoU" if found.objective == "miou" else found.objective
    before, best, held_out = (percent(one) for one in (found.score_before, found.score, found.score_held_out))
    say(
        f"{found.pictures} pictures: {score} {before} % at its threshold {found.threshold_before:g}, "
        f"{best} % at the best one, {found.model.threshold:g}"
    )
    say(
        f"on pictures that did not choose it: {held_out} %, a gain of {100 * found.gain:+.1f} points "
        f"with a standard error of {100 * found.gain_error:.1f}"
    )
    if not found.is_certain:
        say(f"the threshold stays {found.threshold_before:g}: what another one gains could be chance")
    if written is not None:
        say(f"{written}: threshold {found.model.threshold if found.is_certain else found.threshold_before:g}")
        next_step("nanou-deploy", "build", "--board", "esp32s3", "--model", written.with_suffix(".tflite"))
