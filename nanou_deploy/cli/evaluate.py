"""`evaluate`: score a model by every executor, and compare these with each other."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.completion import complete_runs
from nanou_deploy.cli.options import PROBABILITY, Output, data_option, group_by_option, json_option, model_option
from nanou_deploy.cli.output import emit_json, emit_table, percent, progress, say
from nanou_deploy.cli.training_output import print_metrics

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel
    from nanou_deploy.evaluate.evaluate_executors import EvaluationResult
    from nanou_train.data.dataset import Dataset
    from nanou_train.evaluation.evaluate import Evaluation

COMPARED = ("int8", "tflm", "aot")


@click.command(short_help="Metrics on a test set, by Keras, int8 or compiled C.")
@model_option
@click.option(
    "--run",
    "run_folder",
    shell_complete=complete_runs,
    type=click.Path(path_type=Path),
    help="A run folder: its student and int8 model.",
)
@data_option
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option(
    "--executor",
    "executors",
    multiple=True,
    type=click.Choice(["keras", "int8", "tflm", "aot"]),
    help="Float student, TFLite's BUILTIN_REF, TFLite Micro, compiled C. Again for more. Default: keras and int8.",
)
@click.option("--compare", is_flag=True, help="Run all that there are, and count what differs between them.")
@click.option("--threshold", type=PROBABILITY, help="Instead of the model's own.")
@group_by_option
@click.option("--output", type=Output(), help="Folder for JSON, charts, pictures and report.html.")
@json_option
def evaluate(
    model: Path | None,
    run_folder: Path | None,
    data: Path | None,
    split: str,
    executors: tuple[str, ...],
    compare: bool,
    threshold: float | None,
    group_by: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Score a model beside a constant mask: by class, by sequence, over all thresholds; calibration; worst images.

    A classifier's --data is a folder with one for each class, of pictures or .npy files: top-1 beside the majority,
    confusion matrix. A raw model's is a folder with input.npy, and output.npy to compare with.

    A run is evaluated on its own data unless --data says otherwise. docs/EVALUATION.md defines every metric.
    """
    from nanou_deploy.evaluate.evaluate_executors import evaluate_executors, write_evaluation
    from nanou_train.data.splits import regrouped

    run_folder = run_folder or (model if model is not None and model.is_dir() else None)
    names = _executors(executors, compare, run_folder is not None)
    quantized = _quantized(model, run_folder, names)
    if quantized is not None and quantized.decision.task != "segment":
        from nanou_deploy.cli.evaluate_tensors import evaluate_tensors

        evaluate_tensors(quantized, data, split, names, threshold, output, as_json)
        return
    dataset = regrouped(_dataset(quantized, run_folder, data), group_by)
    contract, own_threshold = _contract(quantized, run_folder)
    result = evaluate_executors(
        names,
        quantized,
        run_folder,
        dataset,
        split=split,
        threshold=threshold or own_threshold,
        progress=progress,
    )
    if output is not None:
        command = shlex.join(["nanou-deploy", *sys.argv[1:]])
        write_evaluation(output, result, getattr(dataset, split), contract, quantized, (command,))
    if as_json:
        sha256 = quantized.sha256 if quantized else None
        emit_json("evaluate/2", {**result.as_json(), "model_sha256": sha256, "output": output})
        return
    _print(result)
    if output is not None:
        say(f"written: {output}")


def _executors(given: tuple[str, ...], compare: bool, has_run: bool) -> tuple[str, ...]:
    """In a fixed order, the float model first. Without TensorFlow, TFLite Micro stands for int8."""
    from codegen.tflite.interpreters import builtin_ref_available
    from nanou_deploy.errors import DeployError
    from nanou_deploy.evaluate.executors import EXECUTORS

    wanted = set(given)
    if "keras" in wanted and not has_run:
        raise DeployError("executor keras needs a training run", hint="give the run's folder with --run")
    if compare:
        wanted |= {*COMPARED, *(("keras",) if has_run else ())}
    elif not wanted:
        wanted = {"int8" if builtin_ref_available() else "tflm", *(("keras",) if has_run else ())}
    return tuple(name for name in EXECUTORS if name in wanted)


def _quantized(model: Path | None, run_folder: Path | None, names: tuple[str, ...]) -> QuantizedModel | None:
    """Return the int8 model; None where only the float student of a run that was not quantized is asked for."""
    from nanou_deploy.build.library import open_model
    from nanou_train.runs.int8_model import int8_path

    path = model or run_folder
    if names == ("keras",) and path is not None and path.is_dir() and not int8_path(path).is_file():
        return None
    return open_model(path)


def _contract(quantized: QuantizedModel | None, run_folder: Path | None) -> tuple[Any, float]:
    """Preprocessing and decision threshold: the int8 model's, else the run's."""
    if quantized is not None:
        return quantized.image, quantized.threshold
    from nanou_train.runs import run_folder as run

    assert run_folder is not None
    manifest = run.read_manifest(run_folder)
    return run.preprocessing(manifest), run.configuration(manifest).student.threshold


def _dataset(model: QuantizedModel | None, run_folder: Path | None, data: Path | None) -> Dataset:
    from nanou_train.data.dataset import DatasetSpec, load_dataset, terrain_dataset
    from nanou_train.experiments.config import TerrainCounts
    from nanou_train.runs import run_folder as run

    if data is not None:
        return load_dataset(DatasetSpec.of(data, _contract(model, run_folder)[0]))
    if run_folder is not None:
        return run.run_dataset(run.read_manifest(run_folder))
    contract = _contract(model, run_folder)[0]
    size = {"height_px": contract.height_px, "width_px": contract.width_px, "channels": contract.channels}
    return terrain_dataset(TerrainCounts().model_dump(), seed=0, **size)


def _print(result: EvaluationResult) -> None:
    height_px, width_px = next(iter(result.decisions.values())).shape[1:]
    size = f"masks of {height_px}x{width_px}"
    say(f"{result.dataset}, {result.images} {result.split} images, {size}, threshold {result.threshold:g}")
    print_metrics({"constant mask": result.constant_mask, **{one.executor: one.metrics for one in result.executors}})
    titles = ("share", "iou", "dice", "precision", "recall", "f05", "f2", "boundary_f")
    columns = ("Executor", "Class", *(title.replace("_", " ") for title in titles))
    rows_by_class = (
        (one.executor, each.name, *(percent(getattr(each, title)) for title in titles))
        for one in result.executors
        for each in one.classes
    )
    emit_table(columns, rows_by_class, right=range(2, len(columns)))
    for one in result.executors:
        say(f"{one.executor}: {', '.join(_remarks(one))}")
    for pair in result.comparisons:
        decided = f"{pair.differing_pixels:,} of {pair.pixels:,} pixels decided differently"
        steps = pair.max_difference_steps
        apart = "" if steps is None else f", logits at most {steps:.2f} int8 steps apart"
        say(f"{pair.first} and {pair.second}: {decided}{apart}")


def _remarks(one: Evaluation) -> Iterator[str]:
    yield f"calibration error {percent(one.calibration.ece)} %"
    if one.average_precision is not None:
        yield f"average precision {percent(one.average_precision)} %"
    if spread := one.sequence_spread:
        mean, deviation = percent(spread["mean_miou"]), percent(spread["std_miou"])
        yield f"mIoU of {len(one.sequences)} sequences {mean} ± {deviation} %"
    worst = one.worst[0]
    yield f"worst image {worst.stem} ({percent(worst.miou)} %)"
