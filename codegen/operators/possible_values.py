"""Bound which int8 values an activation can have, whatever the model's inputs are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codegen import operators as ops
from codegen.graph.graph import Graph, IntArray, Operator

INT8 = np.arange(-128, 128)
# Whose output values depend on one value of each operand, so that all pairs of those that occur give all that result.
_OF_VALUES = frozenset(
    """
    abs add elu hard_swish leaky_relu logistic maximum minimum mul prelu quantize relu relu6 rsqrt squared_difference
    sub tanh
    """.split()  # noqa: SIM905
)


def possible_values(graph: Graph, index: int, most_steps: int = 8) -> IntArray:
    """Return the values of a tensor in ascending order: a constant's own, of an activation those that can occur.

    At least those: it looks no further than `most_steps` operators back, and only through operators of which the values
    alone decide. What an operator says of itself is believed, so `graph` may be any that was read.
    """
    tensor = graph.tensor(index)
    if tensor.data is not None:
        return np.unique(tensor.data).astype(np.int64)
    producer = _producers(graph).get(index)
    if producer is None or most_steps == 0 or min(producer.inputs, default=-1) < 0 or tensor.dtype != "int8":
        return INT8
    read = [graph.tensor(i) for i in producer.inputs]
    implementation = ops.IMPLEMENTATIONS.get(producer.stem)
    if implementation is None or any(one.dtype != "int8" for one in read) or len(producer.outputs) != 1:
        return INT8
    if producer.stem not in _OF_VALUES:
        return INT8
    values = [possible_values(graph, i, most_steps - 1) for i in producer.inputs]
    operands = (values[0],) if len(values) == 1 else (values[0][:, None], values[1])
    result = implementation.evaluate(graph, producer, operands)
    assert not isinstance(result, tuple)  # it has one output
    return np.unique(result)


def _producers(graph: Graph) -> Mapping[int, Operator]:
    return {output: operator for operator in graph.operators for output in operator.outputs}
