"""Draw figures as SVG by matplotlib: the same bytes each time, text as text, in their own colours or in a page's."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from codegen.library.escaping import Rendered

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#a35a8a")
INK, MUTED, GRID, SURFACE = "#1b1f23", "#636a72", "#ecece7", "#ffffff"
# What templates/report/_style.css.j2 calls them; it has others for dark pages and for print.
_PROPERTIES = {color: f"s{index}" for index, color in enumerate(COLORS)}
_PROPERTIES |= {INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nanou-deploy",
    "text.parse_math": False,
    "font.sans-serif": ["DejaVu Sans", "system-ui", "Arial"],
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": GRID,
    "text.color": MUTED,
    "xtick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "lines.linewidth": 1.75,
    "legend.frameon": False,
}


class Plot:
    """Axes to draw on, and the SVG that comes of it once `plotting` has ended."""

    def __init__(self, figure: Figure, labels: tuple[str, str]) -> None:
        self.figure = figure
        self.axes = figure.add_subplot(xlabel=labels[0], ylabel=labels[1])
        self.axes.set_axisbelow(True)
        self.svg = ""
        self._explained: list[str] = []

    def explain(self, artist: Artist, text: str) -> None:
        """Show `text` where the artist is pointed at."""
        artist.set_gid(f"explained-{len(self._explained)}")
        self._explained.append(text)

    def render(self, title: str) -> None:
        file = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
        svg = file.getvalue()
        frame = re.search(r'viewBox="[^"]*"', svg)
        head = f'<svg class="chart" role="img" aria-label="{escape(title)}" {frame[0] if frame else ""}'
        names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        drawn = svg[svg.index("</defs>") + len("</defs>") :]  # behind a style for all elements of a page
        drawn = re.sub(r'<g id="explained-(\d+)">', self._title, drawn)
        drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
        self.svg = f"{head} {names}>{drawn}"

    def _title(self, group: re.Match[str]) -> str:
        return f'<g class="explained"><title>{escape(self._explained[int(group[1])])}</title>'


@contextmanager
def plotting(title: str, size_px: tuple[int, int], labels: tuple[str, str]) -> Iterator[Plot]:
    """Yield an empty plot of that width and height whose axes are named; it is drawn when the block ends."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # only sizes are asked of the font here
        figure = Figure(figsize=(size_px[0] / 72, size_px[1] / 72), dpi=72, layout="constrained")
        plot = Plot(figure, labels)
        yield plot
        plot.render(title)


def svg_file(svg: str) -> str:
    """Write a drawing as a file of its own."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}'


def svg_element(svg: str) -> Rendered:
    """Write a drawing as an element of a page, whose style says the colours."""
    return Rendered(re.sub("|".join(_PROPERTIES), lambda color: f"var(--{_PROPERTIES[color[0]]})", svg))
