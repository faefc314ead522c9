"""MUL, int8, of any two scales. Reference: .../reference/integer_ops/mul.h (MulElementwise, BroadcastMul6DSlow)."""

from __future__ import annotations

import tflite

from codegen.arithmetic.requantize import quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_options, activation_range, verify_activation
from codegen.kernels.portable import mul
from codegen.kernels.portable.mul import MAX_PRODUCT, ScaledProduct
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.operators.scaled import check_scaled
from codegen.program.program import Lowering, Stage


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    verify_activation(graph, operator)
    check_scaled(operator, MAX_PRODUCT, _exact(graph, operator).shift, of="operands'")


def _exact(graph: Graph, operator: Operator) -> ScaledProduct:
    first, second, output = operands_of(graph, operator)
    multiplier, shift = quantize_multiplier(first.scale * second.scale / output.scale)
    zero_points = first.zero_point, second.zero_point
    return ScaledProduct(zero_points, multiplier, shift, output.zero_point, *activation_range(operator, output))


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _exact(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    exact, stored = _exact(graph, operator), context.storage[operator.outputs[0]]
    return lower_broadcast(
        graph, operator, context, exact.apply, lambda operands: mul.build(operands, stored, exact, context.target)
    )


read_options = activation_options(tflite.MulOptions)
OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2, variable_inputs=0)
