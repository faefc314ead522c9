"""ADD, int8, of any two scales. Reference: .../reference/integer_ops/add.h (AddElementwise, BroadcastAdd4DSlow)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import tflite

from codegen.arithmetic.scaled_sum import ScaledSum, scaled_sum
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_options, activation_range, verify_activation
from codegen.kernels.portable import add
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.operators.scaled import scale_error
from codegen.program.program import Lowering, Stage


def by_sum(read_options: Callable[[Any], Mapping[str, str]], sign: int = 1) -> Implementation:
    """Make ADD, or SUB with the `sign` -1 of its second operand."""
    evaluate, lower = partial(_evaluate, sign=sign), partial(_lower, sign=sign)
    return Implementation(_verify, evaluate, lower, read_options, required_inputs=2, variable_inputs=0)


def _verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    verify_activation(graph, operator)
    if _exact(graph, operator).result[1] > 0:
        raise scale_error(operator)


def _exact(graph: Graph, operator: Operator, sign: int = 1) -> ScaledSum:
    """TFLite's arithmetic."""
    first, second, output = operands_of(graph, operator)
    return scaled_sum(
        (first.scale, second.scale, output.scale),
        (first.zero_point, second.zero_point, output.zero_point),
        activation_range(operator, output),
        sign,
    )


def _evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...], *, sign: int) -> IntArray:
    return _exact(graph, operator, sign).apply(inputs[0], inputs[1])


def _lower(graph: Graph, operator: Operator, context: Lowering, *, sign: int) -> Stage:
    exact, output = _exact(graph, operator, sign), graph.tensor(operator.outputs[0])
    stored, scale = context.storage[output.index], output.scale
    return lower_broadcast(
        graph,
        operator,
        context,
        exact.apply,
        lambda operands: add.build(operands, stored, exact, scale, context.target),
        exact,
    )


OPERATOR = by_sum(activation_options(tflite.AddOptions))
