"""Print results on stdout, progress on stderr, errors in two lines. JSON objects name their schema and its version."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from codegen.untrusted import printable
from nanou_deploy.errors import EXIT_ERROR, INTENDED_ERRORS, DeployError


def progress(message: str) -> None:
    """Print a line of progress on stderr."""
    click.secho(f"  {message}", fg="bright_black", err=True)


def remark(message: str) -> None:
    """Print what the user has to know of a result that is no error, on stderr."""
    click.secho(f"note: {message}", fg="yellow", err=True)


def heading(message: str) -> None:
    """Print the heading of a stage on stderr."""
    click.secho(message, bold=True, err=True)


def emit_json(schema: str, content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout. `schema` is "command/version"."""
    click.echo(json.dumps({"schema": f"nanou-deploy/{schema}", **content}, indent=2, default=_plain))


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> None:
    """Print a table on stdout; columns in `right` are right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    numbers = set(right)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if i in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    # Into a pipe, lines are as long as they need to be.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)


def fail(error: Exception) -> int:
    """Report an intended error and return its exit code; anything else is a defect and keeps its traceback."""
    if not isinstance(error, INTENDED_ERRORS):
        raise error
    code = error.exit_code if isinstance(error, DeployError) else EXIT_ERROR
    click.echo(f"{click.style('error:', fg='red', bold=True, reset=True)} {error}", err=True)
    if error.hint:
        click.echo(f"{click.style('try:', fg='green', bold=True, reset=True)} {error.hint}", err=True)
    if "--json" in sys.argv:
        emit_json("error/1", {"error": str(error), "hint": error.hint, "exit_code": code})
    return code


def percent(value: float | None) -> str:
    """Write a share of 1 in percent, with one decimal; a dash for what was not measured."""
    return "-" if value is None else f"{100 * value:.1f}"


def as_dict(value: Any) -> dict[str, Any]:
    """Turn a frozen dataclass into plain data."""
    return dataclasses.asdict(value)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
