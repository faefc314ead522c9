"""ELU, int8: a table of float32 results. Reference: PopulateLookupTable in micro/kernels/elu.cc."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.requantize import INT32_MAX
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table
from codegen.operators.scaled import scale_error


def check(graph: Graph, operator: Operator) -> None:
    if np.abs(_steps(graph, operator)).max() + 255 > INT32_MAX:
        raise scale_error(operator, "input's")


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    zero_point = graph.tensor(operator.outputs[0]).zero_point
    return np.clip(_steps(graph, operator).astype(np.int64) + zero_point, -128, 127)


def _steps(graph: Graph, operator: Operator) -> npt.NDArray[np.float32]:
    """Of the output, whole ones, before its zero point."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    real = np.float32(source.scale) * (np.arange(-128, 128) - source.zero_point).astype(np.float32)
    # exp in double, rounded once, is the correctly rounded float32 but for ties that no 256 inputs meet.
    exponential = np.exp(np.minimum(real, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
    steps = np.where(real < 0, exponential, real) * (np.float32(1) / np.float32(output.scale))
    rounded: npt.NDArray[np.float32] = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    return rounded


OPERATOR = by_table(table, check)
