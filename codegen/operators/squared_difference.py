"""SQUARED_DIFFERENCE, int8, of any two scales. Reference: tensorflow/lite/micro/kernels/squared_difference.cc."""

from __future__ import annotations

from codegen.arithmetic.requantize import quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import squared_difference
from codegen.kernels.portable.squared_difference import LEFT_SHIFT, ScaledSquare
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.operators.scaled import scale_error
from codegen.program.program import Lowering, Stage


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    if _result_scale(graph, operator) >= 1.0:
        raise scale_error(operator)


def _result_scale(graph: Graph, operator: Operator) -> float:
    first, second, output = operands_of(graph, operator)
    largest = 2.0 * max(first.scale, second.scale)
    return largest * largest / ((1 << 2 * LEFT_SHIFT) * output.scale)


def _exact(graph: Graph, operator: Operator) -> ScaledSquare:
    """TFLite's arithmetic."""
    first, second, output = operands_of(graph, operator)
    largest = 2.0 * max(first.scale, second.scale)
    return ScaledSquare(
        (first.zero_point, second.zero_point),
        (quantize_multiplier(first.scale / largest), quantize_multiplier(second.scale / largest)),
        quantize_multiplier(_result_scale(graph, operator)),
        output.zero_point,
    )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _exact(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    exact, stored = _exact(graph, operator), context.storage[operator.outputs[0]]
    return lower_broadcast(
        graph, operator, context, exact.apply, lambda operands: squared_difference.build(operands, stored, exact)
    )


OPERATOR = Implementation(verify, evaluate, lower, required_inputs=2, variable_inputs=0)
