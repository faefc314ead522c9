"""LOG_SOFTMAX, int8, over the last axis. Reference: .../reference/log_softmax.h (LogSoftmaxQuantized)."""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.arithmetic import fixed_point
from codegen.arithmetic.requantize import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import log_softmax
from codegen.operators.implementation import Implementation
from codegen.operators.last_axis import lower_by_group
from codegen.operators.softmax import (
    ACCUMULATION_BITS,
    INTEGER_BITS,
    DifferenceScaling,
    difference_scaling,
    exponentials,
    sums_of_exponentials,
    verify_softmax,
)
from codegen.program.program import Lowering, Stage

OUTPUT_SCALE, OUTPUT_ZERO_POINT = 16 / 256, 127
_OUTPUT_SHIFT = 31 - INTEGER_BITS - 4


def verify(graph: Graph, operator: Operator) -> None:
    verify_softmax(graph, operator, OUTPUT_SCALE, OUTPUT_ZERO_POINT)
    scale = graph.tensor(operator.inputs[0]).scale
    if not 2.0 ** -(31 - INTEGER_BITS) < scale < 2.0**32:
        raise UnsupportedError(f"{operator.label} has input scale {scale:g}, which TFLM cannot scale")


def _scaling(graph: Graph, operator: Operator) -> DifferenceScaling:
    return difference_scaling(graph.tensor(operator.inputs[0]).scale, 1.0)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs (..., depth) -> int64 of the same shape."""
    scaling, differences = _scaling(graph, operator), inputs[0] - inputs[0].max(-1, keepdims=True)
    sums = sums_of_exponentials(exponentials(scaling), differences)
    logs = fixed_point.log_from_1(sums, ACCUMULATION_BITS)
    back = quantize_multiplier((1 << (31 - scaling.shift)) / scaling.multiplier)
    least = np.maximum(scaling.least - 1, multiply_by_quantized_multiplier(logs - (1 << 31), *back))
    counted = differences > least
    scaled = scaling.scaled(np.where(counted, differences, 0))
    outputs = rounding_divide_by_pot(scaled - logs, _OUTPUT_SHIFT) + OUTPUT_ZERO_POINT
    return np.where(counted, np.clip(outputs, -128, 127), -128)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    scaling, distances = _scaling(graph, operator), -np.arange(256)
    terms = rounding_divide_by_pot(exponentials(scaling), ACCUMULATION_BITS)
    counted = distances >= scaling.least
    scaled = np.where(counted, scaling.scaled(np.where(counted, distances, 0)), log_softmax.LEAST_DIFFERENCE)
    return lower_by_group(graph, operator, context, partial(log_softmax.build, terms, scaled))


OPERATOR = Implementation(verify, evaluate, lower)
