"""Render comparisons as tables of text, for the console and docs/BENCHMARKS.md; the same data give the same text."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codegen.library.escaping import Rendered, one_line
from codegen.library.resources import render_template
from nanou_deploy.measure.compare import SCHEDULES, Breakdown, CompareRow, Comparison
from nanou_deploy.measure.instruction_classes import CLASSES
from nanou_deploy.measure.profile import LayerCost
from nanou_deploy.report.tables import MISSING, count_text
from nanou_deploy.resources import docs_folder

PUBLISHED = "published_figures.toml"
CLASS_TITLES = {
    "load": "Loads",
    "store": "Stores",
    "multiply": "Multiplies",
    "multiply_high_clamp": "High mul., clamps",
    "arithmetic": "Arithmetic",
    "jump": "Jumps",
}


@dataclass(frozen=True)
class TextTable:
    """A table of text; columns in `right` hold numbers, `notes` belong under it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]
    notes: tuple[str, ...] = ()


def compare_table(comparison: Comparison) -> TextTable:
    """Tabulate a comparison, one line per runtime, board and schedule."""
    columns = (
        *("Runtime", "Board", "Schedule", "Instructions", "per MAC", "Ratio", "Working RAM", "Frames"),
        *("RAM with row callbacks", "Stack", "Code", "Tables", "Exact"),
    )
    notes: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.note:
            notes.setdefault(row.note, []).append(_row_name(row))
    return TextTable(
        columns,
        tuple(_compare_cells(row) for row in comparison.rows),
        frozenset(range(3, 12)),
        tuple(f"{', '.join(dict.fromkeys(names))}: {note}." for note, names in notes.items()),
    )


def _row_name(row: CompareRow) -> str:
    return " ".join(filter(None, (row.runtime, row.board)))


def _compare_cells(row: CompareRow) -> tuple[str, ...]:
    sizes = (row.ram_bytes, row.io_bytes, row.rows_ram_bytes, row.stack_bytes, row.code_bytes, row.table_bytes)
    return (
        row.runtime,
        row.board or MISSING,
        row.schedule or MISSING,
        count_text(row.instructions),
        MISSING if row.instructions_per_mac is None else f"{row.instructions_per_mac:.2f}",
        MISSING if row.ratio is None else f"{row.ratio:.2f}",
        *map(count_text, sizes),
        MISSING if row.exact is None else "yes" if row.exact else "NO",
    )


def layers_table(layers: Sequence[LayerCost], *, by_class: bool) -> TextTable:
    """Tabulate a breakdown, one line per operator; with classes, and then without the description, for want of room."""
    titles = tuple(CLASS_TITLES[name] for name in CLASSES) if by_class else ("What",)
    rows = []
    for cost in layers:
        per_mac = f"{cost.instructions / cost.macs:.2f}" if cost.macs else ""
        last = tuple(f"{cost.classes[name]:,}" for name in CLASSES) if by_class else (cost.summary,)
        macs = f"{cost.macs:,}" if cost.macs else ""
        rows.append((cost.number, cost.kernel or cost.summary, macs, f"{cost.instructions:,}", per_mac, *last))
    if by_class:
        totals = tuple(f"{sum(cost.classes[name] for cost in layers):,}" for name in CLASSES)
        macs, instructions = (sum(values) for values in zip(*((c.macs, c.instructions) for c in layers), strict=True))
        rows.append(
            ("", "all", f"{macs:,}", f"{instructions:,}", f"{instructions / macs:.2f}" if macs else "", *totals)
        )
    columns = ("#", "Kernel", "MACs", "Instructions", "per MAC", *titles)
    right = frozenset({0, *range(2, len(columns) if by_class else 5)})
    return TextTable(columns, tuple(rows), right, ("Of the first of the frames whose mean `bench` states.",))


def kernels_table(comparison: Comparison) -> TextTable:
    """Tabulate instructions by board and kernel, and how many of each class for every MAC of the whole model."""
    columns = ("Board", "Kernel", "Instructions", "per MAC", *(CLASS_TITLES[name] for name in CLASSES))
    rows = [row for breakdown in comparison.breakdowns for row in _kernel_rows(breakdown, comparison.macs)]
    notes = tuple(f"{b.board}: {b.note}." for b in comparison.breakdowns if b.note)
    return TextTable(columns, tuple(rows), frozenset(range(2, len(columns))), notes)


def _kernel_rows(breakdown: Breakdown, macs: int) -> list[tuple[str, ...]]:
    kernels: dict[str, Counter[str]] = {}
    for cost in breakdown.layers:
        for name in (cost.kernel or cost.summary, "all"):
            kernels.setdefault(name, Counter()).update(cost.classes)
    kernels["all"] = kernels.pop("all", Counter())

    def cells(kernel: str, classes: Counter[str]) -> tuple[str, ...]:
        counts = (classes.total(), *(classes[name] for name in CLASSES))
        per_mac = tuple(f"{count / macs:.3f}" if macs else MISSING for count in counts)
        return (breakdown.board, kernel, f"{classes.total():,}", *per_mac)

    return [cells(kernel, classes) for kernel, classes in kernels.items() if classes]


def compilers_table(comparisons: Sequence[Comparison]) -> TextTable:
    """Tabulate the compiler and the flags of each board, as far as they were used."""
    built = {
        row.board: (row.compiler, f"`{' '.join(row.flags)}`")
        for comparison in comparisons
        for row in comparison.rows
        if row.compiler
    }
    return TextTable(
        ("Board", "Compiler", "Flags"), tuple((board, *texts) for board, texts in built.items()), frozenset()
    )


def load_published() -> dict[str, list[dict[str, Any]]]:
    """Read the figures of docs/published_figures.toml, by the kind of their source."""
    with (docs_folder() / PUBLISHED).open("rb") as file:
        return tomllib.load(file)


def render_benchmarks(comparisons: Sequence[Comparison], command: str) -> str:
    """Render docs/BENCHMARKS.md. `command` is what made it, without the paths of this machine."""
    published = load_published()
    origins = {model["sha256"]: model for model in published["model"]}
    models = [
        {
            "name": comparison.model,
            "sha256": comparison.sha256,
            "origin": origins.get(comparison.sha256),
            "file_bytes": f"{comparison.file_bytes:,}",
            "macs": f"{comparison.macs:,}" if comparison.macs else "unknown",
            "table": markdown(compare_table(comparison)),
            "kernels": markdown(kernels_table(comparison)),
        }
        for comparison in comparisons
    ]
    context = {
        "command": command,
        "schedules": SCHEDULES,
        "models": models,
        "compilers": markdown(compilers_table(comparisons)),
        "outside": markdown(_outside_table(published["outside"])),
        "published": markdown(_published_table(published["published"])),
    }
    return render_template("report/benchmarks.md.j2", **context)


def _outside_table(figures: Sequence[dict[str, Any]]) -> TextTable:
    keys = ("engine", "target", "instructions", "per_mac", "ram")
    rows = tuple(tuple(figure[key] or MISSING for key in keys) for figure in figures)
    return TextTable(("Engine", "Target", "Instructions", "per MAC", "RAM"), rows, frozenset({2, 3}))


def _published_table(figures: Sequence[dict[str, Any]]) -> TextTable:
    rows = tuple(
        (*(f[key] for key in ("engine", "target", "model", "figure", "measured")), f"[{f['date']}]({f['source']})")
        for f in figures
    )
    return TextTable(("Engine", "Target", "Model", "Figure", "What was measured", "Read on"), rows, frozenset())


def markdown(table: TextTable) -> Rendered:
    """Write a table as Markdown: a pipe table, and its notes as a list."""
    rule = tuple("--:" if i in table.right else "---" for i in range(len(table.columns)))
    rows = [[one_line(cell).replace("|", "\\|") for cell in row] for row in (table.columns, rule, *table.rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return Rendered("\n".join([*lines, *(["", *(f"- {note}" for note in table.notes)] if table.notes else [])]))
