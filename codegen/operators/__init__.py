"""One module per TFLite operator. Each implements the protocol below; the stem is its name everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators import (
    concatenation,
    conv_2d,
    depthwise_conv_2d,
    logistic,
    max_pool_2d,
    pad,
    quantize,
    reshape,
    resize_nearest_neighbor,
)
from codegen.program.program import Lowering, Stage


class Implementation(Protocol):
    """What the compiler needs to know of an operator."""

    REQUIRED_INPUTS: int  # the first ones, which may not be absent

    def read_options(self, table: Any) -> Mapping[str, int | bool | str]:
        """The flatbuffer's builtin options (a `tflite` Table, or None) as plain values."""

    def verify(self, graph: Graph, operator: Operator) -> None:
        """Raise ModelError / UnsupportedError unless shapes, types and quantization are as TFLM requires."""

    def evaluate(self, graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        """The oracle: the activation inputs' values (int64, NHWC) to the output's, exactly as TFLM computes them."""

    def lower(self, graph: Graph, operator: Operator, context: Lowering) -> Stage:
        """Integer constants and tables for code generation."""


IMPLEMENTATIONS: Mapping[str, Implementation] = {
    module.__name__.rsplit(".", 1)[-1]: cast(Implementation, module)
    for module in (
        concatenation,
        conv_2d,
        depthwise_conv_2d,
        logistic,
        max_pool_2d,
        pad,
        quantize,
        reshape,
        resize_nearest_neighbor,
    )
}
