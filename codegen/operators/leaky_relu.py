"""LEAKY_RELU, int8: two multipliers, by sign. Reference: .../reference/leaky_relu.h (QuantizeLeakyRelu)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_scaled


def read_options(table: Any) -> Mapping[str, float]:
    options = tflite.LeakyReluOptions()
    options.Init(table.Bytes, table.Pos)
    return {"alpha": options.Alpha()}


def check(graph: Graph, operator: Operator) -> None:
    for factor in _factors(graph, operator):
        check_scaled(operator, 255, quantize_multiplier(abs(factor))[1])


def _factors(graph: Graph, operator: Operator) -> tuple[float, float]:
    """Of values from 0 on, and below."""
    scale, output = (np.float32(graph.tensor(i).scale) for i in (operator.inputs[0], operator.outputs[0]))
    return float(scale / output), float(scale * np.float32(operator.options["alpha"]) / output)


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    values, (factor, slope) = np.arange(-128, 128) - source.zero_point, _factors(graph, operator)
    scaled = _scaled(values, factor)
    # The sign of alpha is applied behind the multiplication, which takes multipliers from 0 on.
    negative = _scaled(values, abs(slope)) * (-1 if slope < 0 else 1)
    outputs: IntArray = np.clip(np.where(values >= 0, scaled, negative) + output.zero_point, -128, 127)
    return outputs


def _scaled(values: IntArray, factor: float) -> IntArray:
    multiplier, shift = quantize_multiplier(factor)
    return multiply_by_quantized_multiplier(values, multiplier, shift)


OPERATOR = by_table(table, check, read_options=read_options)
