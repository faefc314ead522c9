"""Show training as it goes on, and the metrics that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from nanou_deploy.cli.output import emit_table

METRIC_NAMES = ("miou", "iou_drivable", "iou_background", "f1", "precision", "recall")
AVERAGED = ("miou", "f1", "precision", "recall")  # shown in any case; with other classes, the IoU of each as well


def training_progress() -> Any:
    """Make a progress line on stderr that is rewritten in place on a terminal and thinned out elsewhere."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    percentage, message = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}")
    columns = (BarColumn(28), percentage, TimeRemainingColumn(), message)
    bar = Progress(*columns, console=console, transient=True) if sys.stderr.isatty() else None
    return _Reporter(bar)


class _Reporter:
    """Callable (message, done in 0..1), and a context that owns the terminal's line."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._task, self._shown = bar, None, -1

    def __enter__(self) -> _Reporter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: str, done: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=message)
        elif int(done * 10) != self._shown:
            self._shown = int(done * 10)
            click.echo(f"  {done:4.0%}  {message}", err=True)


def print_metrics(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line per predictor, in per cent: METRIC_NAMES of two classes; AVERAGED and the IoU of each of more."""
    found = [name for name in next(iter(rows.values())) if name.startswith("iou_")]
    names = METRIC_NAMES if set(found) < set(METRIC_NAMES) else (AVERAGED[0], *found, *AVERAGED[1:])
    columns = ("", *(name.replace("_", " ") for name in names))
    lines = (
        (role.replace("_", " "), *(f"{100 * metrics[name]:.1f}" for name in names)) for role, metrics in rows.items()
    )
    emit_table(columns, lines, right=range(1, len(columns)))
