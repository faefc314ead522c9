"""PRELU, int8: negative values times a factor of their own. Reference: .../reference/prelu.h (BroadcastPrelu4DSlow)."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.broadcast import INT8
from codegen.kernels.portable import prelu
from codegen.kernels.portable.mul import MAX_PRODUCT, ScaledProduct
from codegen.kernels.portable.prelu import ScaledPrelu
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.elementwise import lower_lookup
from codegen.operators.implementation import Implementation
from codegen.operators.scaled import check_scaled
from codegen.program.program import Lowering, Stage


def verify(graph: Graph, operator: Operator) -> None:
    verify_broadcast(graph, operator)
    exact = _exact(graph, operator)
    check_scaled(operator, 255, exact.shift)
    check_scaled(operator, MAX_PRODUCT, exact.negative.shift)


def _exact(graph: Graph, operator: Operator) -> ScaledPrelu:
    source, factor, output = operands_of(graph, operator)
    multiplier, shift = quantize_multiplier(source.scale / output.scale)
    zero_points = source.zero_point, factor.zero_point
    negative = quantize_multiplier(source.scale * factor.scale / output.scale)
    return ScaledPrelu(multiplier, shift, ScaledProduct(zero_points, *negative, output.zero_point, -128, 127))


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _exact(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    exact, stored = _exact(graph, operator), context.storage[operator.outputs[0]]
    source, factor, output = operands_of(graph, operator)
    if source.zero_point == -128 and factor.data is not None and source.shape == output.shape:  # nothing is negative
        return lower_lookup(graph, operator, exact.apply(INT8, np.array(0)), context)
    return lower_broadcast(
        graph, operator, context, exact.apply, lambda operands: prelu.build(operands, stored, exact, context.target)
    )


OPERATOR = Implementation(verify, evaluate, lower, required_inputs=2, variable_inputs=0)
