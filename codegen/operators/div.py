"""DIV, int8, of any two scales. Reference: tensorflow/lite/micro/kernels/div.cc and .../reference/div.h."""

from __future__ import annotations

import tflite

from codegen.arithmetic.requantize import quantize_multiplier
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_options, activation_range, verify_activation
from codegen.kernels.portable import div
from codegen.kernels.portable.div import ScaledQuotient
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.operators.implementation import Implementation
from codegen.operators.possible_values import possible_values
from codegen.program.program import Lowering, Stage

_MAX_RANK = 5  # of operands that TFLM broadcasts
_MAX_SHIFT = 31


def verify(graph: Graph, operator: Operator) -> None:
    """Refuse what TFLM stops at: a divisor that can be 0, and quotients that it cannot shift."""
    verify_broadcast(graph, operator)
    verify_activation(graph, operator)
    first, second, output = operands_of(graph, operator)
    if first.shape != second.shape and len(output.shape) > _MAX_RANK:
        raise UnsupportedError(f"{operator.label} broadcasts more than {_MAX_RANK} dimensions")
    exact = _exact(graph, operator)
    values = possible_values(graph, first.index), possible_values(graph, second.index)
    dividends, divisors = exact.operands(values[0][:, None], values[1])
    if not divisors.all():
        raise UnsupportedError(
            f"{operator.label}: its divisor '{second.name}' can be 0, where TFLM stops",
            hint="add a constant to what is divided by, of at least a step of its scale",
        )
    shifts = exact.right_shifts(dividends, divisors)
    if shifts.min() < 0 or shifts.max() > _MAX_SHIFT:
        raise UnsupportedError(
            f"{operator.label}: the scale of its quotient is too far from those of its operands",
            hint="TFLM's own kernel would stop here; calibrate with real images",
        )


def _exact(graph: Graph, operator: Operator) -> ScaledQuotient:
    """TFLite's arithmetic; its scales are divided in float64."""
    first, second, output = operands_of(graph, operator)
    real = first.scale / (second.scale * output.scale)
    zero_points = first.zero_point, second.zero_point
    limits = activation_range(operator, output)
    return ScaledQuotient(zero_points, *quantize_multiplier(real), output.zero_point, *limits)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _exact(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    exact, stored = _exact(graph, operator), context.storage[operator.outputs[0]]
    return lower_broadcast(graph, operator, context, exact.apply, lambda operands: div.build(operands, stored, exact))


read_options = activation_options(tflite.DivOptions)
OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2, variable_inputs=0)
