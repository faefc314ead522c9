"""QUANTIZE, int8 -> int8 with other parameters. Reference: .../reference/requantize.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import UnsupportedError
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
    _, shift = _scaling(graph, operator)
    if 255 << max(shift, 0) > INT32_MAX:
        raise UnsupportedError(
            f"{operator.label}: the output's scale is too small for its input's",
            hint="TFLite's own kernel would overflow here; calibrate with real images",
        )


def _scaling(graph: Graph, operator: Operator) -> tuple[int, int]:
    return quantize_multiplier(graph.tensor(operator.inputs[0]).scale / graph.tensor(operator.outputs[0]).scale)


def _table(graph: Graph, operator: Operator) -> IntArray:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift = _scaling(graph, operator)
    values = np.arange(-128, 128, dtype=np.int64) - source.zero_point
    scaled = multiply_by_quantized_multiplier(values, np.array(multiplier), np.array(shift))
    return np.clip(scaled + output.zero_point, -128, 127)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return evaluate_lookup(_table(graph, operator), inputs[0])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return lower_lookup(graph, operator, _table(graph, operator), context)
