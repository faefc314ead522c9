"""Bound which int8 values an activation can have, whatever the model's inputs are."""

from __future__ import annotations

from functools import cache

import numpy as np

from codegen import operators as ops
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.broadcast import INT8

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
    producers = {output: operator for operator in graph.operators for output in operator.outputs}

    @cache  # what two operands share is looked at once
    def values_of(index: int, steps: int) -> IntArray:
        tensor, producer = graph.tensor(index), producers.get(index)
        if tensor.data is not None:
            return np.unique(tensor.data).astype(np.int64)
        if producer is None or steps == 0 or tensor.dtype != "int8" or not _decides_by_values(graph, producer):
            return INT8
        values = [values_of(i, steps - 1) for i in producer.inputs]
        operands = (values[0],) if len(values) == 1 else (values[0][:, None], values[1])
        result = ops.IMPLEMENTATIONS[producer.stem].evaluate(graph, producer, operands)
        assert not isinstance(result, tuple)  # it has one output
        return np.unique(result)

    return values_of(index, most_steps)


def _decides_by_values(graph: Graph, operator: Operator) -> bool:
    """Tell whether an operator's output values depend on int8 values alone."""
    inputs = operator.inputs
    is_known = operator.stem in _OF_VALUES and operator.stem in ops.IMPLEMENTATIONS and len(operator.outputs) == 1
    return is_known and min(inputs, default=-1) >= 0 and all(graph.tensor(i).dtype == "int8" for i in inputs)
