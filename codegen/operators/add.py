"""ADD, int8, of any two scales. Reference: .../reference/integer_ops/add.h (AddElementwise, BroadcastAdd4DSlow)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tflite

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range, read_activation, verify_activation
from codegen.kernels.portable import add
from codegen.kernels.portable.add import ScaledSum, scaled_sum
from codegen.operators.broadcast import lower_broadcast, operands_of, verify_broadcast
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 0
MOVES_BYTES = False


def read_options(table: Any) -> Mapping[str, str]:
    options = tflite.AddOptions()
    if table is not None:
        options.Init(table.Bytes, table.Pos)
    return {"activation": "none" if table is None else read_activation(options.FusedActivationFunction())}


def verify(graph: Graph, operator: Operator) -> None:
    verify_sum(graph, operator)


def verify_sum(graph: Graph, operator: Operator) -> None:
    """What sums and differences have in common."""
    verify_broadcast(graph, operator)
    verify_activation(operator)
    if exact_sum(graph, operator).result[1] > 0:
        raise UnsupportedError(
            f"{operator.label}: the output's scale is too small for its operands'",
            hint="TFLite's own kernel would stop here; calibrate with real images",
        )


def exact_sum(graph: Graph, operator: Operator, sign: int = 1) -> ScaledSum:
    """TFLite's arithmetic; `sign`: of the second operand."""
    first, second, output = operands_of(graph, operator)
    return scaled_sum(
        (first.scale, second.scale, output.scale),
        (first.zero_point, second.zero_point, output.zero_point),
        activation_range(operator, output),
        sign,
    )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return exact_sum(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_sum(graph, operator, context, exact_sum(graph, operator))


def lower_sum(graph: Graph, operator: Operator, context: Lowering, exact: ScaledSum) -> Stage:
    output = graph.tensor(operator.outputs[0])
    stored, scale = context.storage[output.index], output.scale
    return lower_broadcast(
        graph,
        operator,
        context,
        exact.apply,
        lambda operands: add.build(operands, stored, exact, scale, context.target),
    )
