"""`evaluate` of models that segment nothing: classes of folders, and raw tensors of .npy files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.output import as_dict, emit_json, emit_table, percent, progress, remark, say

if TYPE_CHECKING:
    from codegen.graph.graph import Graph
    from codegen.graph.model import QuantizedModel
    from nanou_deploy.evaluate.cases import Bytes

MOST_CLASSES_SHOWN = 12  # of a confusion matrix; JSON has all


def evaluate_tensors(
    model: QuantizedModel,
    data: Path | None,
    split: str,
    executors: Sequence[str],
    threshold: float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Score a classifier, or compare a raw model's outputs with expected ones; print, and write them to `output`."""
    from codegen.tflite.files import contract_graph
    from nanou_deploy.errors import DeployError

    task = model.decision.task
    if task not in ("classify", "raw"):
        raise DeployError(
            f"{model.name} is a model of task {task}, which has no score here", hint="use bench and verify"
        )
    if data is None:
        wanted = "a folder with one for each class" if task == "classify" else "a folder with input.npy"
        raise DeployError(f"{model.name} needs data to be evaluated on", hint=f"give {wanted} with --data")
    if threshold is not None:
        if task == "raw":
            raise click.UsageError("a raw model has no threshold")
        model = model.deciding(threshold=threshold)
    graph = contract_graph(model.flatbuffer)
    report = _classify if task == "classify" else _compare
    document, files = report(model, graph, data, split, executors, as_json)
    if output is not None:
        _write(output, document, files)
    if as_json:
        emit_json("evaluate/2", {"task": task, **document, "model_sha256": model.sha256, "output": output})
    elif output is not None:
        say(f"written: {output}")


def _classify(
    model: QuantizedModel, graph: Graph, data: Path, split: str, executors: Sequence[str], as_json: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    from nanou_deploy.errors import DeployError
    from nanou_deploy.evaluate.cases import read_labelled
    from nanou_deploy.evaluate.executors import tensor_runs
    from nanou_deploy.evaluate.tensor_scores import classify, confusion_rows, differences, majority, run_each

    if graph.states or any(tensor.is_variable for tensor in graph.tensors):
        raise DeployError(f"{model.name} keeps state from one case to the next, so that no case has a class of its own")
    folder = data / split if (data / split).is_dir() else data
    cases = read_labelled(model, graph, folder)
    if cases.skipped:
        first = ", ".join(cases.skipped[:3]) + (", ..." if len(cases.skipped) > 3 else "")
        remark(f"{len(cases.skipped)} files are no cases and were skipped: {first}")
    outputs = run_each(tensor_runs(executors, model), cases.frames, progress)
    results = [classify(name, given, cases, model, graph) for name, given in outputs.items()]
    baseline, pairs = majority(cases), differences(outputs)
    if not as_json:
        say(f"{folder}, {len(cases.labels)} cases of {len(cases.names)} classes")
        rows: list[tuple[str, str, str]] = [(f"always {baseline.name}", percent(baseline.top1), "")]
        rows += [(one.executor, percent(one.top1), percent(one.balanced_accuracy)) for one in results]
        emit_table(("Executor", "Top-1 %", "Mean recall %"), rows, right=(1, 2))
        for one in results:
            _print_classes(one.executor, one.classes)
            if len(cases.names) <= MOST_CLASSES_SHOWN:
                emit_table(("True \\ said", *cases.names), confusion_rows(one), right=range(1, len(cases.names) + 1))
        _print_differences(pairs)
    document = {
        "dataset": str(folder),
        "cases": len(cases.labels),
        "skipped": cases.skipped,
        "classes": cases.names,
        "majority": baseline,
        "executors": {one.executor: one for one in results},
        "comparisons": pairs,
    }
    return document, {}


def _print_classes(executor: str, classes: Sequence[Any]) -> None:
    rows = [(executor, one.name, one.cases, percent(one.recall), percent(one.precision)) for one in classes]
    emit_table(("Executor", "Class", "Cases", "Recall %", "Precision %"), rows, right=(2, 3, 4))


def _compare(
    _model: QuantizedModel, graph: Graph, data: Path, _split: str, executors: Sequence[str], as_json: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    from nanou_deploy.evaluate.cases import read_tensors
    from nanou_deploy.evaluate.executors import tensor_runs
    from nanou_deploy.evaluate.tensor_scores import differences, run_each, tensor_errors

    cases = read_tensors(graph, data)
    outputs = run_each(tensor_runs(executors, _model), cases.frames, progress)
    errors = [error for name, given in outputs.items() for error in tensor_errors(name, given, cases, graph)]
    pairs = differences(outputs)
    if not as_json:
        say(f"{data}, {len(cases.frames)} cases")
        if errors:
            emit_table(
                ("Executor", "Output", "Largest", "Mean", "RMS", "Steps"),
                (
                    (e.executor, e.output, f"{e.largest:.6g}", f"{e.mean:.6g}", f"{e.root_mean_square:.6g}",
                     "" if e.largest_steps is None else f"{e.largest_steps:.2f}")
                    for e in errors
                ),
                right=(1, 2, 3, 4, 5),
            )  # fmt: skip
        else:
            remark("there is no output.npy to compare with; --output FOLDER keeps what the model gives")
        _print_differences(pairs)
    document = {"dataset": str(data), "cases": len(cases.frames), "errors": errors, "comparisons": pairs}
    return document, _arrays(graph, outputs)


def _print_differences(pairs: Sequence[Any]) -> None:
    for pair in pairs:
        say(f"{pair.first} and {pair.second}: {pair.differing_cases:,} of {pair.cases:,} cases differ")


def _arrays(graph: Graph, outputs: Mapping[str, Bytes]) -> dict[str, Any]:
    """Return what each executor gave, by file name."""
    from nanou_deploy.evaluate.cases import split_outputs

    return {
        f"{name}_output_{at}.npy": part.reshape(len(part), *graph.tensor(graph.file_outputs[at]).shape[1:])
        for name, given in outputs.items()
        for at, part in enumerate(split_outputs(graph, given))
    }


def _write(folder: Path, document: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write evaluation.json and the arrays into a folder that holds nothing else."""
    import numpy as np

    from codegen.library.write import staged_folder
    from nanou_deploy.errors import DeployError

    def is_ours(name: str) -> bool:
        return name == "evaluation.json" or name.endswith(".npy")

    if folder.exists() and (not folder.is_dir() or not all(is_ours(path.name) for path in folder.iterdir())):
        raise DeployError(f"{folder} exists and holds no evaluation", hint="choose another --output")
    try:
        with staged_folder(folder) as staging:
            (staging / "evaluation.json").write_text(json.dumps(document, indent=2, default=as_dict) + "\n")
            for name, array in arrays.items():
                np.save(staging / name, array)
    except OSError as error:
        raise DeployError(f"cannot write {folder}: {error.strerror or error}", hint="check the path") from error
