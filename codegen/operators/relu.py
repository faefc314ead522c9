"""RELU, int8, with requantization. Reference: ReluQuantized in micro/kernels/activations.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import evaluate_lookup, lower_lookup, verify_elementwise
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 1
VARIABLE_INPUTS = 1
MOVES_BYTES = False


def read_options(table: Any) -> Mapping[str, int]:
    return {}


def verify(graph: Graph, operator: Operator) -> None:
    verify_elementwise(graph, operator)


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift = quantize_multiplier(float(np.float32(source.scale) / np.float32(output.scale)))
    scaled = multiply_by_quantized_multiplier(np.arange(-128, 128) - source.zero_point, multiplier, shift)
    return np.clip(scaled + output.zero_point, max(-128, output.zero_point), 127)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return evaluate_lookup(table(graph, operator), inputs[0])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_lookup(graph, operator, table(graph, operator), context)
