"""SOFTMAX, int8, over the last axis. Reference: .../reference/softmax.h and PreprocessSoftmaxScaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic import fixed_point
from codegen.arithmetic.requantize import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import softmax
from codegen.operators.elementwise import verify_elementwise
from codegen.operators.implementation import Implementation
from codegen.operators.last_axis import lower_by_group
from codegen.program.program import Lowering, Stage

INTEGER_BITS = 5  # of differences to the largest value
ACCUMULATION_BITS = 12  # integer bits of a sum of exponentials
MAX_DEPTH = 4095  # of more values the sum of exponentials can leave its 32 bits


def read_options(table: Any) -> Mapping[str, float]:
    options = tflite.SoftmaxOptions()
    options.Init(table.Bytes, table.Pos)
    return {"beta": options.Beta()}


def verify(graph: Graph, operator: Operator) -> None:
    verify_softmax(graph, operator, 1 / 256, -128)
    beta, scale = float(operator.options["beta"]), graph.tensor(operator.inputs[0]).scale
    if not 2.0 ** -(31 - INTEGER_BITS) < beta * scale < 2.0**32:
        raise UnsupportedError(f"{operator.label} has beta {beta:g} at scale {scale:g}, which TFLM cannot scale")


def verify_softmax(graph: Graph, operator: Operator, scale: float, zero_point: int) -> None:
    """Raise unless the output has the quantization that TFLM requires, and sums of exponentials fit."""
    verify_elementwise(graph, operator)
    output = graph.tensor(operator.outputs[0])
    if (output.scale, output.zero_point) != (scale, zero_point):
        raise UnsupportedError(
            f"{operator.label} must have output scale {scale:g} and zero point {zero_point}, as TFLM requires"
        )
    if not output.shape or output.shape[-1] > MAX_DEPTH:
        raise UnsupportedError(f"{operator.label} works on {output.shape}: 1 to {MAX_DEPTH} values at a time")


@dataclass(frozen=True)
class DifferenceScaling:
    """How a difference to the largest value becomes Q5; differences below `least` count as minus infinity."""

    multiplier: int
    shift: int
    least: int

    def scaled(self, differences: IntArray) -> IntArray:
        return multiply_by_quantized_multiplier(differences, self.multiplier, self.shift)


def difference_scaling(scale: float, beta: float) -> DifferenceScaling:
    """PreprocessSoftmaxScaling and CalculateInputRadius in tensorflow/lite/kernels/internal/quantization_util.cc."""
    multiplier, shift = quantize_multiplier(min(beta * scale * 2.0 ** (31 - INTEGER_BITS), 2.0**31 - 1.0))
    return DifferenceScaling(multiplier, shift, -fixed_point.input_radius(INTEGER_BITS, shift))


def exponentials(scaling: DifferenceScaling) -> IntArray:
    """int64 (256,): exp of differences 0, -1, ..., -255 in Q0; 0 from `least` on."""
    differences = -np.arange(256)
    counted = differences >= scaling.least
    values = fixed_point.exp_of_negative(scaling.scaled(np.where(counted, differences, 0)), INTEGER_BITS)
    return np.where(counted, values, 0)


def sums_of_exponentials(table: IntArray, differences: IntArray) -> IntArray:
    """Over the last axis, in Q12; each term is rounded before it is added."""
    terms = rounding_divide_by_pot(table, ACCUMULATION_BITS)
    sums: IntArray = terms[-differences].sum(-1, keepdims=True)
    return sums


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 inputs (..., depth) -> int64 of the same shape."""
    scaling = difference_scaling(graph.tensor(operator.inputs[0]).scale, float(operator.options["beta"]))
    table, differences = exponentials(scaling), inputs[0] - inputs[0].max(-1, keepdims=True)
    reciprocal, bits_over_unit = fixed_point.reciprocal(sums_of_exponentials(table, differences), ACCUMULATION_BITS)
    shares = fixed_point.multiply(reciprocal, table[-differences])
    outputs = rounding_divide_by_pot(shares, bits_over_unit + 31 - 8) - 128
    return np.where(differences >= scaling.least, np.clip(outputs, -128, 127), -128)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    table = exponentials(difference_scaling(graph.tensor(operator.inputs[0]).scale, float(operator.options["beta"])))
    return lower_by_group(graph, operator, context, partial(softmax.build, table))


OPERATOR = Implementation(verify, evaluate, lower, read_options)
