"""ELU, int8: a table of float32 results. Reference: PopulateLookupTable in micro/kernels/elu.cc."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table


def table(graph: Graph, operator: Operator) -> IntArray:
    """int64 (256,): outputs for inputs -128 .. 127."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    real = np.float32(source.scale) * (np.arange(-128, 128) - source.zero_point).astype(np.float32)
    # exp in double, rounded once, is the correctly rounded float32 but for ties that no 256 inputs meet.
    exponential = np.exp(np.minimum(real, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
    steps = np.where(real < 0, exponential, real) * (np.float32(1) / np.float32(output.scale))
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    return np.clip(rounded.astype(np.int64) + output.zero_point, -128, 127)


OPERATOR = by_table(table)
