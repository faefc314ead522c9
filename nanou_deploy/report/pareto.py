"""Render a front of networks as an HTML page that needs nothing beside it, and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import codegen
from codegen.library.escaping import Rendered
from codegen.library.resources import render_template
from nanou_deploy.report.drawing import COLORS, svg_element
from nanou_deploy.report.page import Figure
from nanou_deploy.report.scatter import Dot, scatter_svg, short
from nanou_deploy.report.tables import MISSING, Cell, Table
from nanou_train.networks.cost import Cost
from nanou_train.networks.structure import Block, Structure
from nanou_train.search.pareto import Front, Point, non_dominated

_MAKERS = ("prune", "search", "train")  # each in the colour of that number
_COSTS: tuple[tuple[str, str, Callable[[Cost], int]], ...] = (
    ("instructions", "instructions per inference", lambda cost: cost.instructions),
    ("ram", "working RAM, bytes", lambda cost: cost.ram_bytes),
    ("flash", "code and tables, bytes", lambda cost: cost.flash_bytes),
)


def render_front(front: Front) -> str:
    """Render the front as one self-contained HTML document. The same front always gives the same bytes."""
    made = {point.made_by for point in front.points}
    return render_template(
        "report/pareto.html.j2",
        name=front.name,
        subtitle=f"{len(front.points)} networks · {', '.join(front.boards) or 'no board'}",
        figures=tuple(_figures(front)),
        charts=tuple(_charts(front)),
        makers=tuple((maker, f"s{number}") for number, maker in enumerate(_MAKERS) if maker in made),
        table=_table(front),
        generator=f"nanou-deploy {codegen.__version__}",
    )


def describe_structure(structure: Structure) -> str:
    """Write a structure in one line, such as `60x80x3: 4 8 ↓2 16 ↑+ 8`; the decoder follows the bottleneck.

    A stem comes first, as `8 ↓2 | `.
    """

    def blocks(found: Sequence[Block]) -> str:
        return " ".join(f"{b.width}" + (f"k{b.kernel}" if b.kernel != 3 else "") for b in found) or MISSING

    def pool(size: tuple[int, int]) -> str:
        return f"↓{size[0]}" if size[0] == size[1] else f"↓{size[0]}x{size[1]}"

    down = "".join(f"{blocks(level.encoder)} {pool(level.pool)} " for level in structure.levels)
    up = "".join(f" ↑{'+' * level.skip} {blocks(level.decoder)}" for level in structure.levels[::-1])
    stem = f"{blocks((structure.stem,))} ↓{structure.stride} | " if structure.stem else ""
    return f"{'x'.join(map(str, structure.input_shape))}: {stem}{down}{blocks(structure.bottleneck)}{up}"


def _figures(front: Front) -> Iterator[Figure]:
    if not front.points:
        return
    best = max(front.points, key=lambda point: point.miou)
    yield Figure("best mIoU", _percent(best.miou), "%", f"{best.name}, validation{_int8(best)}")
    for board in front.boards[:1]:
        small = min(front.points, key=lambda point: point.costs[board].instructions)
        most, least = best.costs[board].instructions, small.costs[board].instructions
        yield Figure("its instructions", short(most), "", f"on {board}")
        note = f"{small.name}: {100 * least / most:.0f} % of that, mIoU {_percent(small.miou)} %{_int8(small)}"
        yield Figure("fewest instructions", short(least), "", note)
        small = min(front.points, key=lambda point: point.costs[board].ram_bytes)
        yield Figure("least working RAM", f"{small.costs[board].ram_bytes / 1000:.1f}", "KB", small.name)


def _int8(point: Point) -> str:
    return "" if point.int8_miou is None else f"; int8 on the test part {_percent(point.int8_miou)} %"


@dataclass(frozen=True)
class PlacedPlot:
    """A plot of the page."""

    slug: str
    title: str
    svg: Rendered


def _charts(front: Front) -> Iterator[PlacedPlot]:
    for index, board in enumerate(front.boards):
        for slug, label, cost_of in _COSTS if index == 0 else _COSTS[:1]:
            yield _chart(front, board, slug, label, cost_of)


def _chart(front: Front, board: str, slug: str, label: str, cost_of: Callable[[Cost], int]) -> PlacedPlot:
    def cost(point: Point) -> int:
        return cost_of(point.costs[board])

    best = {id(point) for point in non_dominated(front.points, (cost, lambda point: -point.miou))}
    dots = [
        Dot(
            cost(point),
            point.miou,
            COLORS[_MAKERS.index(point.made_by)],
            point.name,
            f"{point.name}: mIoU {_percent(point.miou)} %{_int8(point)}; {cost(point):,} {label}",
            id(point) in best,
        )
        for point in front.points
    ]
    title = f"mIoU and {label.partition(',')[0]}, {board}"
    svg = scatter_svg(title, (label, "validation mIoU, %"), dots)
    return PlacedPlot(f"{slug}_{board}", title, svg_element(svg))


def _table(front: Front) -> Table:
    costs = [(board, kind) for board in front.boards for kind in ("instructions", "RAM", "flash")]
    columns = (
        Cell("network"),
        Cell("made by"),
        *(Cell(text, "n") for text in ("mIoU val", "int8 test", "float test", "masks", "seeds", "parameters", "MACs")),
        *(Cell(f"{kind} {board}", "n") for board, kind in costs),
        Cell("structure"),
    )
    note = (
        "mIoU in percent, against masks of the size stated; RAM is working memory without the two frames, flash is "
        "code and tables, both in bytes; instructions are counted in emulation. Structure: widths of blocks, k5 for a "
        "5x5 window, ↓ pools, ↑ upsamples, + joins the skip connection. Click on a column to sort by it."
    )
    return Table("networks", "Networks", note, columns, tuple(_row(point, front.boards) for point in front.points))


def _row(point: Point, boards: Sequence[str]) -> tuple[Cell, ...]:
    scores = (point.val_miou, point.int8_miou, point.float_miou)
    numbers: list[Any] = [len(point.seeds), point.parameters, point.macs]
    for board in boards:
        cost = point.costs[board]
        numbers += [cost.instructions, cost.ram_bytes, cost.flash_bytes]
    return (
        Cell(point.name),
        Cell(point.made_by),
        *(Cell(MISSING if score is None else _percent(score), "n") for score in scores),
        Cell("{}x{}".format(*point.masks_px), "n"),
        *(Cell(f"{number:,}", "n") for number in numbers),
        Cell(describe_structure(point.structure), "code"),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
