"""What a report says. Filled from the stages' results; nothing here computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.plan import Plan
from nanou_deploy.report.pictures import Panel


@dataclass(frozen=True)
class AccuracyRow:
    """Metrics in 0..1 of one predictor ("float", "int8", "constant mask") on the test set.

    `metrics` may hold miou, iou_drivable, iou_background, f1, precision and recall; absent ones show as a dash.
    """

    name: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ExecutorRow:
    """How one executor compared with the reference. `cases` of 0 means that it did not run; `note` says why."""

    name: str
    cases: int
    equal: int
    max_difference: int = 0  # in int8 steps
    first_divergent: str = ""  # "operator 7 (CONV_2D)"
    note: str = ""

    @property
    def agrees(self) -> bool:
        return self.cases > 0 and self.equal == self.cases


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


@dataclass(frozen=True)
class BenchRow:
    """What one inference costs on one board. None where that board cannot tell."""

    board: str
    runtime: str
    instructions: int | None
    working_bytes: int
    io_bytes: int
    stack_bytes: int | None
    code_bytes: int
    table_bytes: int


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
    executors: tuple[ExecutorRow, ...]
    accuracy: tuple[AccuracyRow, ...] = ()
    bench: tuple[BenchRow, ...] = ()
    panels: tuple[Panel, ...] = ()
    provenance: Mapping[str, str] | None = None
    commands: tuple[str, ...] = ()
