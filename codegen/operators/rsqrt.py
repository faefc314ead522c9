"""RSQRT, int8: 1 / sqrt. Reference: RsqrtEvalQuantized in tensorflow/lite/micro/kernels/elementwise.cc."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.inverse_sqrt import inverse_sqrt_multipliers
from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_exponent, check_scaled

_FRACTIONAL_BITS = 20


def check(graph: Graph, operator: Operator) -> None:
    if graph.tensor(operator.inputs[0]).zero_point != -128:
        raise UnsupportedError(
            f"{operator.label} takes values below 0, at which TFLM stops",
            hint="calibrate so that its input's zero point is -128",
        )
    shift = _scaling(graph, operator)[1] - _FRACTIONAL_BITS
    check_scaled(operator, 1 << _FRACTIONAL_BITS, shift)
    check_exponent(operator, min(shift, 0), range(-31, 1))


def _scaling(graph: Graph, operator: Operator) -> tuple[int, int]:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    return quantize_multiplier(float(np.float32(1 / np.sqrt(np.float32(source.scale)) / output.scale)))


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    output, (multiplier, shift) = graph.tensor(operator.outputs[0]), _scaling(graph, operator)
    roots, root_shifts = inverse_sqrt_multipliers(np.arange(1, 256))
    data = multiply_by_quantized_multiplier(np.array(1, np.int64), roots, root_shifts + _FRACTIONAL_BITS)
    scaled = multiply_by_quantized_multiplier(data, multiplier, shift - _FRACTIONAL_BITS) + output.zero_point
    outputs: IntArray = np.clip(np.concatenate([[127], scaled]), -128, 127)
    return outputs


OPERATOR = by_table(table, check)
