"""List the operators that the compiler supports, one module each, named as TFLite's in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.program.program import Lowering, Stage

_OPERATORS = (
    "add",
    "arg_max",
    "arg_min",
    "average_pool_2d",
    "batch_to_space_nd",
    "concatenation",
    "conv_2d",
    "depth_to_space",
    "depthwise_conv_2d",
    "elu",
    "expand_dims",
    "fully_connected",
    "hard_swish",
    "leaky_relu",
    "log_softmax",
    "logistic",
    "max_pool_2d",
    "mean",
    "maximum",
    "minimum",
    "mirror_pad",
    "mul",
    "pack",
    "pad",
    "padv2",
    "prelu",
    "quantize",
    "relu",
    "relu6",
    "reshape",
    "resize_bilinear",
    "resize_nearest_neighbor",
    "slice",
    "softmax",
    "space_to_batch_nd",
    "space_to_depth",
    "split",
    "split_v",
    "squeeze",
    "strided_slice",
    "sub",
    "sum",
    "svdf",
    "tanh",
    "tile",
    "transpose",
    "transpose_conv",
    "unidirectional_sequence_lstm",
    "unpack",
)


class Implementation(Protocol):
    """What the compiler needs to know of an operator.

    `SEVERAL_OUTPUTS = True` lets it have more than one output; `STATE_INPUTS` are the positions of its own variables,
    `OUTPUT_DTYPES` its outputs' types in a file, where they are not int8.
    """

    REQUIRED_INPUTS: int  # the first ones, which may not be absent
    VARIABLE_INPUTS: int  # the first ones, which may not be constants; one of all inputs never is
    MOVES_BYTES: bool  # outputs are bytes of the inputs, so that both must be stored alike

    def read_options(self, table: Any) -> Mapping[str, int | bool | str]:
        """The flatbuffer's builtin options (a `tflite` Table, or None) as plain values."""

    def verify(self, graph: Graph, operator: Operator) -> None:
        """Raise ModelError / UnsupportedError unless shapes, types and quantization are as TFLM requires."""

    def evaluate(
        self, graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]
    ) -> IntArray | tuple[IntArray, ...]:
        """The oracle: values of the inputs that are there, constants included, to the output's or to those of all
        outputs (int64, NHWC), exactly as TFLM computes them."""

    def lower(self, graph: Graph, operator: Operator, context: Lowering) -> Stage | tuple[Stage, ...]:
        """Integer constants and tables for code generation: a stage for each output."""


IMPLEMENTATIONS: Mapping[str, Implementation] = {
    stem: cast(Implementation, import_module(f"codegen.operators.{stem}")) for stem in _OPERATORS
}


def state_inputs(operator: Operator) -> tuple[int, ...]:
    """Which of its inputs are variables of its own, that it changes."""
    positions: tuple[int, ...] = getattr(IMPLEMENTATIONS.get(operator.stem), "STATE_INPUTS", ())
    return positions if max(positions, default=-1) < len(operator.inputs) else ()
