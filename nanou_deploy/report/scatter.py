"""Draw networks by what they cost and what they score, with the front: the line that none of them beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nanou_deploy.report.drawing import INK, MUTED, SURFACE, Plot, plotting

SIZE_PX = (420, 330)
LOG_FROM = 4.0  # ratio of the largest to the smallest cost from which on the axis is logarithmic
MARGIN = 0.09  # of an axis, on either side
DOT_PX = 8
LETTER_PX, LETTER_HEIGHT_PX = 5.8, 11
# Where a name may stand, from its dot: nothing is above and to the left of the front.
NAME_OFFSETS_PX = (
    ("right", -7, 6),
    ("left", 8, -7),
    ("right", -7, 17),
    ("left", 8, 7),
    ("right", -7, -8),
    ("left", -4, -15),
)


@dataclass(frozen=True)
class Dot:
    """A network: cost and score in their own units; `text` shows on pointing at it, `name` where it is on the front."""

    cost: float
    score: float
    color: str
    name: str
    text: str
    on_front: bool


def scatter_svg(title: str, labels: tuple[str, str], dots: Sequence[Dot]) -> str:
    """Draw cost from left to right and score upwards in percent; dots on the front are filled. `dots` is not empty."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    costs = [dot.cost for dot in dots]
    is_log = min(costs) > 0 and max(costs) / min(costs) >= LOG_FROM
    with plotting(title, SIZE_PX, (labels[0] + ", logarithmic" * is_log, labels[1])) as plot:
        axes = plot.axes
        axes.margins(MARGIN)
        if is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
        for dot in dots:
            color, alpha = (dot.color, 1.0) if dot.on_front else (SURFACE, 0.6)
            marker = axes.scatter(dot.cost, dot.score, s=50, c=color, edgecolors=dot.color, linewidths=2, alpha=alpha)
            marker.set_zorder(3)
            plot.explain(marker, dot.text)
        front = sorted((dot for dot in dots if dot.on_front), key=lambda dot: (dot.cost, dot.score))
        if front:
            _draw_front(plot, front)
            _write_names(plot, front, dots)
    return plot.svg


def short(value: float) -> str:
    """Shorten a number: 12,300,000 to 12.3M, 8,200 to 8.2k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _draw_front(plot: Plot, front: Sequence[Dot]) -> None:
    """Along until the next network is affordable, then up."""
    costs, scores = [dot.cost for dot in front], [dot.score for dot in front]
    end = plot.axes.get_xlim()[1]
    plot.axes.step([*costs, end], [*scores, scores[-1]], where="post", color=MUTED, linewidth=1.25, linestyle=":")
    plot.axes.set_xlim(right=end)


def _write_names(plot: Plot, front: Sequence[Dot], dots: Sequence[Dot]) -> None:
    """Beside the dots of the front, where nothing is in the way: a name that finds no place is seen on pointing."""
    from matplotlib.transforms import Bbox

    axes = plot.axes
    plot.figure.draw_without_rendering()  # so that places are final
    places = [axes.transData.transform((dot.cost, dot.score)) for dot in dots]
    taken = [Bbox.from_bounds(x - DOT_PX / 2, y - DOT_PX / 2, DOT_PX, DOT_PX) for x, y in places]
    for dot in front:
        x, y = axes.transData.transform((dot.cost, dot.score))
        width = LETTER_PX * len(dot.name)
        for side, dx, dy in NAME_OFFSETS_PX:
            left = x + dx - (width if side == "right" else 0)
            box = Bbox.from_bounds(left, y + dy - LETTER_HEIGHT_PX / 2, width, LETTER_HEIGHT_PX)
            if left > axes.bbox.x0 and box.x1 < axes.bbox.x1 and not box.count_overlaps(taken):
                taken.append(box)
                place = {"xytext": (dx, dy), "textcoords": "offset pixels", "ha": side, "va": "center"}
                axes.annotate(dot.name, (dot.cost, dot.score), color=INK, **place)  # type: ignore[arg-type]
                break
