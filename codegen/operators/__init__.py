"""One module per TFLite operator. Each implements the protocol below; its name is the operator's, in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.program.program import Lowering, Stage

_OPERATORS = (
    "concatenation",
    "conv_2d",
    "depthwise_conv_2d",
    "logistic",
    "max_pool_2d",
    "pad",
    "quantize",
    "reshape",
    "resize_nearest_neighbor",
)


class Implementation(Protocol):
    """What the compiler needs to know of an operator."""

    REQUIRED_INPUTS: int  # the first ones, which may not be absent
    VARIABLE_INPUTS: int  # the first ones, which may not be constants; one of all inputs never is
    MOVES_BYTES: bool  # outputs are bytes of the inputs, so that both must be stored alike

    def read_options(self, table: Any) -> Mapping[str, int | bool | str]:
        """The flatbuffer's builtin options (a `tflite` Table, or None) as plain values."""

    def verify(self, graph: Graph, operator: Operator) -> None:
        """Raise ModelError / UnsupportedError unless shapes, types and quantization are as TFLM requires."""

    def evaluate(self, graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        """The oracle: values of the inputs that are there, constants included, to the output's (int64, NHWC), exactly
        as TFLM computes them."""

    def lower(self, graph: Graph, operator: Operator, context: Lowering) -> Stage:
        """Integer constants and tables for code generation."""


IMPLEMENTATIONS: Mapping[str, Implementation] = {
    stem: cast(Implementation, import_module(f"codegen.operators.{stem}")) for stem in _OPERATORS
}
