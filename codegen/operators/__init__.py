"""List the operators that the compiler supports, one module each, named as TFLite's in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from codegen.graph.graph import Operator
from codegen.operators.implementation import Implementation

_OPERATORS = (
    "abs",
    "add",
    "arg_max",
    "arg_min",
    "average_pool_2d",
    "batch_matmul",
    "batch_to_space_nd",
    "broadcast_to",
    "concatenation",
    "constant",
    "conv_2d",
    "depth_to_space",
    "depthwise_conv_2d",
    "div",
    "elu",
    "equal",
    "expand_dims",
    "fully_connected",
    "gather",
    "gather_nd",
    "greater",
    "greater_equal",
    "hard_swish",
    "l2_normalization",
    "leaky_relu",
    "less",
    "less_equal",
    "log_softmax",
    "logistic",
    "lookup",
    "max_pool_2d",
    "mean",
    "maximum",
    "minimum",
    "mirror_pad",
    "mul",
    "not_equal",
    "pack",
    "pad",
    "padv2",
    "prelu",
    "quantize",
    "reduce_max",
    "reduce_min",
    "relu",
    "relu6",
    "reshape",
    "resize_bilinear",
    "resize_nearest_neighbor",
    "reverse_v2",
    "rsqrt",
    "select_v2",
    "slice",
    "softmax",
    "space_to_batch_nd",
    "space_to_depth",
    "split",
    "split_v",
    "squeeze",
    "squared_difference",
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


IMPLEMENTATIONS: Mapping[str, Implementation] = {
    stem: import_module(f"codegen.operators.{stem}").OPERATOR for stem in _OPERATORS
}


def state_inputs(operator: Operator) -> tuple[int, ...]:
    """Which of its inputs are variables of its own, that it changes."""
    implementation = IMPLEMENTATIONS.get(operator.stem)
    positions = implementation.state_inputs if implementation else ()
    return positions if max(positions, default=-1) < len(operator.inputs) else ()
