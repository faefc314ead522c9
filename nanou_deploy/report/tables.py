"""The report's tables, as text that is ready to print."""

from __future__ import annotations

from dataclasses import dataclass

from nanou_deploy.report.data import BenchRow, ExecutorRow, ReportData

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

    def percent(value: float | None) -> Cell:
        return Cell(MISSING if value is None else f"{100 * value:.1f}", "n")

    return Table(
        "accuracy",
        "Accuracy",
        "Percent, on the test set. The constant mask predicts each pixel's majority in the training set, whatever "
        "the picture: a model must beat it to have learned to look.",
        (Cell("predictor"), *(Cell(title, "n") for _, title in columns)),
        tuple((Cell(row.name), *(percent(row.metrics.get(key)) for key, _ in columns)) for row in data.accuracy),
    )


def executors_table(data: ReportData) -> Table:
    def row(executor: ExecutorRow) -> tuple[Cell, ...]:
        if not executor.cases:
            return (
                Cell(executor.name),
                Cell("not run", "muted"),
                *(Cell(MISSING, "n") for _ in range(3)),
                Cell(executor.note, "muted"),
            )
        verdict = Cell("✓ equal", "good") if executor.agrees else Cell("✗ differs", "bad")
        numbers = (executor.cases, executor.equal, executor.max_difference)
        detail = " · ".join(text for text in (executor.first_divergent, executor.note) if text)
        return (Cell(executor.name), verdict, *(Cell(f"{number:,}", "n") for number in numbers), Cell(detail))

    return Table(
        "executors",
        "Executors",
        "Each ran the same int8 inputs (random, extreme and real); equal means every output byte of every case.",
        (
            Cell("executor"),
            Cell("verdict"),
            Cell("cases", "n"),
            Cell("equal", "n"),
            Cell("max difference", "n"),
            Cell("first divergent operator, note"),
        ),
        tuple(row(executor) for executor in data.executors),
    )


def cost_table(data: ReportData) -> Table:
    def row(bench: BenchRow) -> tuple[Cell, ...]:
        per_mac = bench.instructions / data.plan.macs if bench.instructions and data.plan.macs else None
        return (
            Cell(bench.board),
            Cell(bench.runtime),
            _count(bench.instructions),
            Cell(MISSING if per_mac is None else f"{per_mac:.2f}", "n"),
            *(
                _count(value)
                for value in (
                    bench.working_bytes,
                    bench.io_bytes,
                    bench.stack_bytes,
                    bench.code_bytes,
                    bench.table_bytes,
                )
            ),
        )

    numeric = ("instructions", "per MAC", "working B", "frames B", "stack B", "code B", "tables B")
    return Table(
        "cost",
        "Cost of one inference",
        f"{data.plan.macs:,} multiply-accumulates. Counted under emulation, never estimated; bytes of the model's own "
        "code and tables, without the C library.",
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
                _count(row.macs or None),
                _count(row.weight_bytes or None),
            )
            for row in data.operators
        ),
    )


def _count(value: int | None) -> Cell:
    return Cell(MISSING if value is None else f"{value:,}", "n")


def shape_text(shape: tuple[int, ...]) -> str:
    """(1, 60, 80, 3) -> "60×80×3": the batch is always 1."""
    return "×".join(str(size) for size in (shape[1:] if len(shape) > 1 else shape))
