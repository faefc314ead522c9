"""GREATER, int8, of any two scales: 0 or 1. Reference: .../reference/comparisons.h and TFLM's comparisons.cc."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.broadcast import INT8
from codegen.kernels.portable import comparison
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, Stage

_LEFT_SHIFT = 8

Compare = Callable[[IntArray, IntArray], IntArray]


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    for tensor in operands_of(graph, operator)[:2]:
        if tensor.scale >= 1.0:
            raise UnsupportedError(f"{operator.label} compares '{tensor.name}' of scale {tensor.scale:g}; "
                                   "TFLM stops at scales from 1 on")  # fmt: skip


def _share(graph: Graph, operator: Operator, operand: int, values: IntArray) -> IntArray:
    """Scale an operand's int8 values to what is compared."""
    tensor = graph.tensor(operator.inputs[operand])
    shifted = (values - tensor.zero_point) << _LEFT_SHIFT
    return multiply_by_quantized_multiplier(shifted, *quantize_multiplier(tensor.scale))


def by_comparison(compare: Callable[..., object], symbol: str) -> Implementation:
    """Make a comparison of NumPy's function; `symbol` is C's."""

    def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        shares = [_share(graph, operator, i, inputs[i]) for i in range(2)]
        return np.asarray(compare(*shares)).astype(np.int64)

    def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
        def apply(first: IntArray, second: IntArray) -> IntArray:
            return np.broadcast_to(evaluate(graph, operator, (first, second)), 256)

        stored = context.storage[operator.outputs[0]]
        shares = _share(graph, operator, 0, INT8), _share(graph, operator, 1, INT8)
        ranks = np.unique(np.concatenate(shares), return_inverse=True)[1]
        return lower_broadcast(
            graph,
            operator,
            context,
            apply,
            lambda operands: comparison.build(operands, stored, (ranks[:256], ranks[256:]), symbol),
        )

    return Implementation(verify, evaluate, lower, required_inputs=2, variable_inputs=0, output_dtypes=("bool",))


OPERATOR = by_comparison(np.greater, ">")
