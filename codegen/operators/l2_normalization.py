"""L2_NORMALIZATION, int8, over the last axis. Reference: .../reference/integer_ops/l2normalization.h."""

from __future__ import annotations

from functools import partial

import numpy as np
import tflite

from codegen.arithmetic.inverse_sqrt import inverse_sqrt_multipliers
from codegen.arithmetic.requantize import multiply_by_quantized_multiplier
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_options
from codegen.kernels.portable import l2_normalization
from codegen.kernels.portable.l2_normalization import OUTPUT_BITS
from codegen.operators.elementwise import verify_elementwise
from codegen.operators.implementation import Implementation
from codegen.operators.last_axis import lower_by_group
from codegen.program.program import Lowering, Stage

MAX_RANK = 4  # as TFLM
MAX_DEPTH = 2**31 // 255**2  # of more values the sum of squares can leave its 32 bits


def verify(graph: Graph, operator: Operator) -> None:
    verify_elementwise(graph, operator)
    output = graph.tensor(operator.outputs[0])
    if operator.options["activation"] != "none":
        raise UnsupportedError(f"{operator.label} fuses activation {operator.options['activation']}")
    if (output.scale, output.zero_point) != (1 / 128, 0):
        raise UnsupportedError(f"{operator.label} must have output scale 1/128 and zero point 0, as TFLM requires")
    if not 1 <= len(output.shape) <= MAX_RANK or output.shape[-1] > MAX_DEPTH:
        raise UnsupportedError(
            f"{operator.label} works on {output.shape}: 1 to {MAX_DEPTH} values at a time, of at most {MAX_RANK} axes"
        )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs (..., depth) -> int64 of the same shape."""
    values = inputs[0] - graph.tensor(operator.inputs[0]).zero_point
    multipliers, shifts = inverse_sqrt_multipliers(np.square(values).sum(-1, keepdims=True))
    return np.clip(multiply_by_quantized_multiplier(values, multipliers, shifts + OUTPUT_BITS), -128, 127)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_by_group(
        graph, operator, context, partial(l2_normalization.build, graph.tensor(operator.inputs[0]).zero_point)
    )


OPERATOR = Implementation(verify, evaluate, lower, activation_options(tflite.L2NormOptions))
