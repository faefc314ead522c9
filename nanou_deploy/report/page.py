"""Render ReportData to HTML. The template only substitutes and loops: everything is text or a picture before."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from codegen.library.resources import render_template
from nanou_deploy.report.arena_map import ArenaMap, arena_map
from nanou_deploy.report.charts import chart_svg, evaluation_charts
from nanou_deploy.report.data import ReportData
from nanou_deploy.report.drawing import svg_element
from nanou_deploy.report.evaluation_tables import evaluation_tables
from nanou_deploy.report.legend import css_entries, error_entries
from nanou_deploy.report.pictures import Panel, Tile, panel_tiles, png_bytes
from nanou_deploy.report.tables import Cell, accuracy_table, cost_table, executors_table, operators_table, shape_text
from nanou_deploy.verify.golden import TRUTH, ExecutorResult, cases_of


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True)
class PictureRow:
    tiles: tuple[TileView, ...]


@dataclass(frozen=True)
class TileView:
    title: str
    caption: str
    sources: tuple[str, ...]  # one data URI, or none
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures with one legend of (text, colour)."""

    slug: str
    title: str
    note: str
    rows: tuple[PictureRow, ...]
    legend: tuple[tuple[str, str], ...]


def render_report(data: ReportData) -> str:
    """Render the report as one self-contained HTML document. The same data always gives the same bytes."""
    return render_template(
        "report/report.html.j2",
        model_name=data.model_name,
        subtitle=" · ".join(
            (
                f"{shape_text(data.input_shape)} → {shape_text(data.output_shape)}",
                "int8",
                f"sha256 {data.model_sha256[:12]}",
            )
        ),
        verdict=_verdict(data),
        figures=_figures(data),
        galleries=tuple(_galleries(data)),
        accuracy=tuple(table for table in (accuracy_table(data),) if table.rows),
        charts=[(one, svg_element(chart_svg(one))) for one in evaluation_charts(data.evaluations, data.redundancy)],
        chart_sections=("evaluation",) if data.evaluations else (),
        evaluation_tables=evaluation_tables(data),
        worst=tuple(_worst(data)),
        tables=tuple(table for table in (executors_table(data), cost_table(data)) if table.rows),
        maps=_maps(data),
        operators=operators_table(data),
        provenance=tuple((data.provenance or {}).items()),
        model_sha256=data.model_sha256,
        commands="\n".join(data.commands),
        generator=f"nanou-deploy {data.generator_version}",
    )


def _galleries(data: ReportData) -> Iterator[Gallery]:
    if data.panels:
        note = (
            "Test pictures at the model's own resolution. Float is the trained network, int8 what runs on the device."
        )
        yield _gallery("pictures", "What it saw and what it decided", note, data.panels)


def _worst(data: ReportData) -> Iterator[Gallery]:
    if data.worst:
        note = f"The pictures of the lowest mIoU of {data.evaluations[-1].executor}, worst first."
        yield _gallery("worst", "Where it fails", note, data.worst)


def _gallery(slug: str, title: str, note: str, panels: tuple[Panel, ...]) -> Gallery:
    rows = tuple(PictureRow(tuple(tile_view(tile) for tile in panel_tiles(panel))) for panel in panels)
    return Gallery(slug, title, note, rows, css_entries(error_entries(panels[0].classes)))


def _compared(data: ReportData) -> tuple[ExecutorResult, ...]:
    return tuple(row for row in data.executors if row.status in ("equal", "differs") and row.name != TRUTH)


def _verdict(data: ReportData) -> Cell:
    compared = _compared(data)
    differing = [row for row in compared if row.status == "differs"]
    if not data.executors:
        return Cell(f"Scores alone: `nanou-deploy verify` compares executors with {TRUTH}, byte for byte.", "muted")
    if not compared:
        return Cell(f"Not verified: nothing was compared with {TRUTH}.", "bad")
    if differing:
        first = differing[0].first_divergence
        where = f", first at {first.operator}" if first else ""
        return Cell(f"{', '.join(row.name for row in differing)}: not equal to {TRUTH}{where}.", "bad")
    plural = "executor equals" if len(compared) == 1 else "executors equal"
    return Cell(f"{len(compared)} {plural} {TRUTH} byte for byte, {cases_of(compared)}.", "good")


def _figures(data: ReportData) -> tuple[Figure, ...]:
    plan = data.plan
    return (
        *_accuracy_figures(data),
        Figure("working RAM", _kilobytes(plan.working_bytes), "KB", f"and {_kilobytes(plan.io_bytes)} KB of frames"),
        *_cost_figures(data),
        *_equality_figures(data),
    )


def _equality_figures(data: ReportData) -> Iterator[Figure]:
    if data.executors:
        compared, absent = _compared(data), sum(row.status == "absent" for row in data.executors)
        equal = sum(row.status == "equal" for row in compared)
        note = f"to {TRUTH}, to the last byte" + (f"; {absent} did not run" if absent else "")
        yield Figure("executors equal", str(equal), f"of {len(compared)}", note)


def _accuracy_figures(data: ReportData) -> Iterator[Figure]:
    miou = {row.name: f"{100 * row.metrics['miou']:.1f}" for row in data.accuracy if "miou" in row.metrics}
    if int8 := miou.pop("int8", None):
        yield Figure("int8 mIoU", int8, "%", " · ".join(f"{name} {value} %" for name, value in miou.items()))


def _cost_figures(data: ReportData) -> Iterator[Figure]:
    for first in data.bench[:1]:
        parts = f"code {_kilobytes(first.code_bytes)} KB, tables {_kilobytes(first.table_bytes)} KB"
        yield Figure("flash", _kilobytes(first.code_bytes + first.table_bytes), "KB", parts)
        if first.instructions:
            per_mac = f"{first.instructions / data.plan.macs:.1f} per MAC, " if data.plan.macs else ""
            note = f"{per_mac}{first.board}, {first.runtime}"
            yield Figure("instructions", f"{first.instructions / 1e6:.1f}", "M", note)


def _kilobytes(size_bytes: int) -> str:
    return f"{size_bytes / 1000:.1f}"


def tile_view(tile: Tile) -> TileView:
    if tile.picture is None:
        return TileView(tile.title, tile.caption, (), 0, 0)
    height_px, width_px = tile.picture.shape[:2]
    uri = "data:image/png;base64," + base64.b64encode(png_bytes(tile.picture)).decode("ascii")
    return TileView(tile.title, tile.caption, (uri,), width_px, height_px)


def _maps(data: ReportData) -> tuple[ArenaMap, ...]:
    if not data.plan.placements:
        return ()
    names = data.plan.step_names
    return (arena_map(data.plan, {step: names[number] for step, number in enumerate(data.plan.schedule)}),)
