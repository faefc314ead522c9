"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nanou_deploy.boards import BOARDS

_Command = TypeVar("_Command", bound=Callable[..., Any])

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A .tflite file or a run folder. Default: the model that comes with nanou-deploy.",
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["aot", "tflm"]),
    default="aot",
    show_default=True,
    help="Compiled C (aot) or the TensorFlow Lite Micro interpreter (tflm).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def board_option(default: str | None = "host") -> Callable[[_Command], _Command]:
    text = f"One of {', '.join(BOARDS)}."
    if default is None:  # click takes default=None for a value
        return click.option("--board", required=True, metavar="NAME", help=text)
    return click.option("--board", default=default, show_default=True, metavar="NAME", help=text)
