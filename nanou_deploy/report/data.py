"""Collect what a report says from the stages' results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codegen.graph.graph import Graph
from codegen.plan.plan import Plan
from codegen.program.program import Program
from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.report.pictures import Panel
from nanou_deploy.verify.golden import ExecutorResult
from nanou_train.evaluation.evaluate import Comparison, Evaluation


@dataclass(frozen=True)
class AccuracyRow:
    """Metrics in 0..1 of one predictor ("float", "int8", "constant mask") on the test set.

    `metrics` may hold miou, iou_drivable, iou_background, f1, precision and recall; absent ones show as a dash.
    """

    name: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class OperatorRow:
    """One operator of the .tflite file. `quantization` is of its output, as text."""

    index: int
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    quantization: str
    macs: int
    weight_bytes: int


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that a report shows. Empty tuples leave their section out; `bench` starts with the headline's board.

    `provenance` maps a label ("training data") to its value; `commands` reproduce what the report shows.
    """

    model_name: str
    model_sha256: str
    generator_version: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    plan: Plan
    operators: tuple[OperatorRow, ...]
    executors: tuple[ExecutorResult, ...]
    accuracy: tuple[AccuracyRow, ...] = ()
    bench: tuple[BenchResult, ...] = ()
    panels: tuple[Panel, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    redundancy: tuple[Mapping[str, Any], ...] = ()  # records of a watched training, see charts.evaluation_charts
    comparisons: tuple[Comparison, ...] = ()
    worst: tuple[Panel, ...] = ()
    split: str = "test"
    provenance: Mapping[str, str] | None = None
    commands: tuple[str, ...] = ()


def operator_rows(graph: Graph, program: Program) -> tuple[OperatorRow, ...]:
    """Make a row for each operator of the .tflite file, in execution order; weights include biases."""
    macs: Counter[int] = Counter()
    for stage in program.stages:
        macs[stage.operator_index] += 0 if stage.is_again else stage.macs
    rows = []
    for operator in graph.operators:
        source, sink = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
        constants = [graph.tensor(i) for i in operator.inputs if i >= 0 and graph.tensor(i).data is not None]
        rows.append(
            OperatorRow(
                index=operator.index,
                op=operator.stem.upper(),
                input_shape=source.shape,
                output_shape=sink.shape,
                quantization=f"scale {sink.scale:.5g}, zero point {sink.zero_point}" if sink.scales else "",
                macs=macs[operator.index],
                weight_bytes=sum(tensor.size_bytes for tensor in constants),
            )
        )
    return tuple(rows)
