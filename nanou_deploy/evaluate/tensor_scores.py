"""Evaluate a model that segments nothing: classes against folders of classes, raw tensors against .npy files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from nanou_deploy.evaluate.cases import Bytes, LabelledCases, TensorCases, Values, real_values, split_outputs

Run = Callable[[Bytes], npt.NDArray[np.generic]]


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; None where the data or the predictions have none of it."""

    name: str
    cases: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class Classification:
    """Scores of one executor. `confusion` counts cases by true class (row) and predicted class (column)."""

    executor: str
    top1: float
    balanced_accuracy: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TensorError:
    """How far one output of one executor is from what it is to be, in real numbers and in steps of the output."""

    executor: str
    output: int
    largest: float
    mean: float
    root_mean_square: float
    largest_steps: float | None


@dataclass(frozen=True)
class Difference:
    """Of how many cases two executors gave different bytes."""

    first: str
    second: str
    cases: int
    differing_cases: int


@dataclass(frozen=True)
class Majority:
    """The baseline that looks at no case: always the class that most are of."""

    name: str
    top1: float


def classify(name: str, outputs: Bytes, cases: LabelledCases, model: QuantizedModel, graph: Graph) -> Classification:
    """Score one executor's outputs."""
    at = model.contract.decisive_output or 0
    tensor = graph.tensor(graph.file_outputs[at])
    values = real_values(split_outputs(graph, outputs)[at], tensor)
    decided = decide(values, model)
    count = len(cases.names)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (cases.labels, decided), 1)
    right, truth, said = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    scores = tuple(
        ClassScore(
            each,
            int(truth[i]),
            float(right[i] / truth[i]) if truth[i] else None,
            float(right[i] / said[i]) if said[i] else None,
        )
        for i, each in enumerate(cases.names)
    )
    recalls = [score.recall for score in scores if score.recall is not None]
    rows = tuple(tuple(row) for row in confusion.tolist())
    return Classification(name, float(right.sum() / len(decided)), float(np.mean(recalls)), scores, rows)


def decide(values: Values, model: QuantizedModel) -> npt.NDArray[np.int64]:
    """Real values (N, classes) -> class indices; of one value, 1 where it reaches the threshold."""
    if values.shape[1] > 1:
        return np.asarray(np.argmax(values, axis=1).astype(np.int64), np.int64)
    reached: npt.NDArray[np.int64] = (values[:, 0] >= model.decision.real_threshold - 1e-9).astype(np.int64)
    return reached


def majority(cases: LabelledCases) -> Majority:
    """Find the class that most cases are of, and what saying it always would score."""
    counts = np.bincount(cases.labels, minlength=len(cases.names))
    return Majority(cases.names[int(np.argmax(counts))], float(counts.max() / counts.sum()))


def tensor_errors(name: str, outputs: Bytes, cases: TensorCases, graph: Graph) -> tuple[TensorError, ...]:
    """Compare one executor's outputs with those that are expected."""
    parts, errors = split_outputs(graph, outputs), []
    for at, expected in cases.expected.items():
        tensor = graph.tensor(graph.file_outputs[at])
        apart = np.abs(real_values(parts[at], tensor) - expected)
        largest = float(apart.max())
        step = tensor.scale if len(tensor.scales) == 1 and tensor.dtype != "float32" else None
        squares = float(np.sqrt(np.mean(apart**2)))
        errors.append(TensorError(name, at, largest, float(apart.mean()), squares, largest / step if step else None))
    return tuple(errors)


def differences(outputs: Mapping[str, Bytes]) -> tuple[Difference, ...]:
    """Compare each two executors, byte by byte."""
    return tuple(
        Difference(first, second, len(ours), int(np.count_nonzero((ours != theirs).any(axis=1))))
        for (first, ours), (second, theirs) in combinations(outputs.items(), 2)
    )


def run_each(runs: Mapping[str, Run], frames: Bytes, progress: Callable[[str], None]) -> dict[str, Bytes]:
    """Run each executor on all cases: uint8 (N, output bytes) by name."""
    outputs = {}
    for name, run in runs.items():
        progress(f"{name}, {len(frames)} cases")
        outputs[name] = np.ascontiguousarray(run(frames)).reshape(len(frames), -1).view(np.uint8)
    return outputs


def confusion_rows(one: Classification) -> Sequence[Sequence[object]]:
    """Describe the confusion matrix, a row for each true class."""
    return [(score.name, *row) for score, row in zip(one.classes, one.confusion, strict=True)]
