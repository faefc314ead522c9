"""Describe an operator to the compiler: what it takes, what it means, and how it is lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.program.program import Lowering, Stage

Move = Callable[[Graph, Operator, tuple[IntArray, ...]], tuple[IntArray, ...]]


def no_options(table: Any) -> Mapping[str, int]:
    """Read nothing: constants and the shapes of inputs and outputs say it all."""
    return {}


@dataclass(frozen=True)
class Implementation:
    """What the compiler needs to know of an operator.

    The first `required_inputs` may not be absent; the first `variable_inputs` may not be constants, and one of all
    inputs never is. `state_inputs` are the positions of its own variables, `output_dtypes` its outputs' types in a file
    where they are not int8. Of an operator that `moves_bytes`, outputs are bytes of the inputs, so that both must be
    stored alike; where `move` says which, constants are folded by it.
    """

    verify: Callable[[Graph, Operator], None]
    """Raise ModelError / UnsupportedError unless shapes, types and quantization are as TFLM requires."""
    evaluate: Callable[[Graph, Operator, tuple[IntArray, ...]], IntArray | tuple[IntArray, ...]]
    """The oracle: values of the inputs that are there, constants included, to the output's or to those of all outputs
    (int64, NHWC), exactly as TFLM computes them."""
    lower: Callable[[Graph, Operator, Lowering], Stage | tuple[Stage, ...]]
    """Integer constants and tables for code generation: a stage for each output."""
    read_options: Callable[[Any], Mapping[str, int | bool | str | float]] = no_options
    """The flatbuffer's builtin options (a `tflite` Table, or None) as plain values."""
    required_inputs: int = 1
    variable_inputs: int = 1
    moves_bytes: bool = False
    move: Move | None = None
    several_outputs: bool = False
    state_inputs: tuple[int, ...] = ()
    output_dtypes: tuple[str, ...] = ()
