"""Define the options that state what a model's tensors mean, for `describe` and `import`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from nanou_deploy.cli.options import MOST, PROBABILITY

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Numbers(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Parses a number, or one for each channel: 0.5 or 0.485,0.456,0.406."""

    name = "NUMBER[,NUMBER...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no number, nor several with commas between: 0.485,0.456,0.406", param, ctx)
        return numbers if len(numbers) > 1 else numbers[0]


class Names(click.ParamType):  # type: ignore[type-arg] # as above
    """Parses names of classes: sky,road,grass, or @FILE with a name a line."""

    name = "NAME,NAME...|@FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        from codegen.untrusted import read_bounded

        if not isinstance(value, str):
            return tuple(value)
        if not value.startswith("@"):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        try:
            text = read_bounded(Path(value[1:]), 1 << 20).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self.fail(f"cannot read {value[1:]}: {error}", param, ctx)
        return tuple(line.strip() for line in text.splitlines() if line.strip())


def contract_options(command: _Command) -> _Command:
    """Define what can be said of one input and one output."""

    @click.option(
        "--input-index", type=click.IntRange(0, MOST), default=0, show_default=True, help="The input that is meant."
    )
    @click.option(
        "--input-kind", type=click.Choice(["image", "raw"]), help="A picture, or a tensor of any other meaning."
    )
    @click.option("--mean", type=Numbers(), help="(v/255 - mean) / std is the input for a pixel component v in 0..255.")
    @click.option("--std", type=Numbers(), help="See --mean.")
    @click.option("--color-order", type=click.Choice(["RGB", "BGR"]), help="Order of the input's three channels.")
    @click.option("--resize-filter", type=click.Choice(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
                  help="Pillow's filter by which pictures of other sizes are resized.")  # fmt: skip
    @click.option(
        "--output-index", type=click.IntRange(0, MOST), default=0, show_default=True, help="The output that is meant."
    )
    @click.option("--task", type=click.Choice(["segment", "classify", "grid", "raw"]),
                  help="A class for each pixel, for the whole, for coarse cells (FOMO), or anything else.")  # fmt: skip
    @click.option(
        "--values", type=click.Choice(["logits", "probabilities", "raw"]), help="What the output's numbers are."
    )
    @click.option("--threshold", type=PROBABILITY,
                  help="Probability from which on one channel, or a cell of a grid, counts.")  # fmt: skip
    @click.option("--classes", type=Names(), help="Names of the classes in the order of their indices.")
    @click.option("--drivable", type=Names(), help="Those of the classes of a map that count as drivable.")
    @wraps(command)
    def with_contract(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    return cast(_Command, with_contract)
