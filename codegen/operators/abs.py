"""ABS, int8. Reference: AbsEvalQuantized in tensorflow/lite/micro/kernels/elementwise.cc."""

from __future__ import annotations

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import check_scaled


def _scaling(graph: Graph, operator: Operator) -> tuple[int, int]:
    return quantize_multiplier(
        float(np.float32(graph.tensor(operator.inputs[0]).scale) / np.float32(graph.tensor(operator.outputs[0]).scale))
    )


def check(graph: Graph, operator: Operator) -> None:
    check_scaled(operator, 255, _scaling(graph, operator)[1])


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    values = np.abs(np.arange(-128, 128, dtype=np.int64) - source.zero_point)
    if source.scale != output.scale:
        values = multiply_by_quantized_multiplier(values, *_scaling(graph, operator))
    outputs: IntArray = np.clip(values + output.zero_point, -128, 127)
    return outputs


OPERATOR = by_table(table, check)
