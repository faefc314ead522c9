"""Count the multiply-accumulates of a graph from its shapes, whether or not the compiler supports its operators."""

from __future__ import annotations

import math

from codegen.graph.graph import Graph, Operator

# Operators that multiply and accumulate in other ways than those counted here, or hide operators in a subgraph.
_UNCOUNTED = frozenset(
    {"batch_matmul", "call_once", "if", "svdf", "transpose_conv", "unidirectional_sequence_lstm", "while"}
)


def count_macs(graph: Graph) -> int | None:
    """Count those of convolutions and fully connected layers; None where other operators have some too."""
    if any(operator.stem in _UNCOUNTED for operator in graph.operators):
        return None
    return sum(_operator_macs(graph, operator) for operator in graph.operators)


def _operator_macs(graph: Graph, operator: Operator) -> int:
    if operator.stem not in ("conv_2d", "depthwise_conv_2d", "fully_connected"):
        return 0
    weights = graph.tensor(operator.inputs[1]).shape  # the products of one output: all weights but the first extent
    products = weights[1:3] if operator.stem == "depthwise_conv_2d" else weights[1:]
    return math.prod(graph.tensor(operator.outputs[0]).shape) * math.prod(products)
