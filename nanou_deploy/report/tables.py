"""Make the report's tables of a model: accuracy, executors, costs, operators."""

from __future__ import annotations

from dataclasses import dataclass

from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.report.data import ReportData
from nanou_deploy.verify.golden import TRUTH, ExecutorResult

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    text: str
    css: str = ""


@dataclass(frozen=True)
class Table:
    """`slug` names the section in the page; columns whose css is "n" hold numbers and are set flush right."""

    slug: str
    title: str
    note: str
    columns: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def accuracy_table(data: ReportData) -> Table:
    columns = (
        ("miou", "mIoU"),
        ("iou_drivable", "IoU drivable"),
        ("iou_background", "IoU background"),
        ("f1", "F1"),
        ("precision", "precision"),
        ("recall", "recall"),
    )

    return Table(
        "accuracy",
        "Accuracy",
        f"Percent, on the {data.split} set. The constant mask predicts each pixel's majority in the training set, "
        "whatever the picture: a model must beat it to have learned to look.",
        (Cell("predictor"), *(Cell(title, "n") for _, title in columns)),
        tuple((Cell(row.name), *(percent_cell(row.metrics.get(key)) for key, _ in columns)) for row in data.accuracy),
    )


def executors_table(data: ReportData) -> Table:
    verdicts = {
        "equal": Cell("✓ equal", "good"),
        "differs": Cell("✗ differs", "bad"),
        "apart": Cell("≈ rounds otherwise", "muted"),
        "absent": Cell("not run", "muted"),
    }

    def row(executor: ExecutorResult) -> tuple[Cell, ...]:
        ran = executor.status != "absent"
        numbers = (executor.cases, executor.equal_cases, executor.max_difference)
        first = executor.first_divergence
        where = f"{first.operator}, {first.tensor}, case {first.case_label}" if first else ""
        return (
            Cell(executor.name),
            Cell("reference") if executor.name == TRUTH else verdicts[executor.status],
            *(count_cell(number if ran else None) for number in numbers),
            Cell(" · ".join(text for text in (where, executor.detail) if text), "" if ran else "muted"),
        )

    return Table(
        "executors",
        "Executors",
        f"Each ran the same int8 inputs (random, extreme and real). Equal means: every output byte of every case is "
        f"{TRUTH}'s.",
        (
            Cell("executor"),
            Cell("verdict"),
            Cell("cases", "n"),
            Cell("equal", "n"),
            Cell("max difference", "n"),
            Cell("first divergent operator, details"),
        ),
        tuple(row(executor) for executor in data.executors),
    )


def cost_table(data: ReportData) -> Table:
    def row(bench: BenchResult) -> tuple[Cell, ...]:
        per_mac = bench.instructions_per_mac
        stack = bench.stack_bytes, bench.stack_usage_bytes
        sizes = (bench.ram_bytes, bench.io_bytes, *stack, bench.code_bytes, bench.table_bytes)
        return (
            Cell(bench.board),
            Cell(bench.runtime),
            count_cell(bench.instructions),
            Cell(MISSING if per_mac is None else f"{per_mac:.2f}", "n"),
            *(count_cell(size) for size in sizes),
        )

    compilers = dict.fromkeys(f"Compiled by {b.compiler} {' '.join(b.flags)}." for b in data.bench)
    numeric = (
        "instructions",
        "per MAC",
        "working B",
        "frames B",
        "stack used B",
        "stack stated B",
        "code B",
        "tables B",
    )
    return Table(
        "cost",
        "Cost of one inference",
        f"{data.plan.macs:,} multiply-accumulates. Counted under emulation, never estimated; bytes of the model's own "
        f"code and tables, without the C library; stack as used in the emulator, and as the compiler states it of the "
        f"functions that can be active at once. {' '.join(compilers)}",
        (Cell("board"), Cell("runtime"), *(Cell(title, "n") for title in numeric)),
        tuple(row(bench) for bench in data.bench),
    )


def operators_table(data: ReportData) -> Table:
    return Table(
        "operators",
        "Operators",
        "In execution order, as the .tflite file states them; quantization of the output.",
        (
            Cell("#", "n"),
            Cell("operator"),
            Cell("input"),
            Cell("output"),
            Cell("quantization"),
            Cell("MACs", "n"),
            Cell("weights B", "n"),
        ),
        tuple(
            (
                Cell(str(row.index), "n"),
                Cell(row.op, "code"),
                Cell(shape_text(row.input_shape)),
                Cell(shape_text(row.output_shape)),
                Cell(row.quantization, "muted"),
                count_cell(row.macs or None),
                count_cell(row.weight_bytes or None),
            )
            for row in data.operators
        ),
    )


def count_text(value: int | None) -> str:
    """Write a count with its thousands apart: 12345 as "12,345", None as a dash."""
    return MISSING if value is None else f"{value:,}"


def count_cell(value: int | None) -> Cell:
    return Cell(count_text(value), "n")


def percent_text(value: float | None) -> str:
    """Write a part of 1 in percent: 0.876 as "87.6", None as a dash."""
    return MISSING if value is None else f"{100 * value:.1f}"


def percent_cell(value: float | None) -> Cell:
    return Cell(percent_text(value), "n")


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape without its batch, which is always 1: (1, 60, 80, 3) as "60×80×3"."""
    return "×".join(str(size) for size in (shape[1:] if len(shape) > 1 else shape))
