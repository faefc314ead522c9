"""SPLIT: equal parts along an axis, one output each. Reference: micro/kernels/split.cc."""

from __future__ import annotations

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, split_at


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    """Cut the values, the second input, along the axis, the first."""
    axis = constant(graph, operator, 0)[0] % inputs[1].ndim
    return split_at(inputs[1], [graph.tensor(output).shape[axis] for output in operator.outputs], axis)


OPERATOR = by_movement(move, required_inputs=2, variable_inputs=0, constants=(0,), several_outputs=True)
