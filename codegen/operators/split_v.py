"""SPLIT_V: parts of stated sizes along an axis, one output each. Reference: micro/kernels/split_v.cc."""

from __future__ import annotations

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, split_at


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    axis = constant(graph, operator, 2)[0] % inputs[0].ndim
    return split_at(inputs[0], [graph.tensor(output).shape[axis] for output in operator.outputs], axis)


OPERATOR = by_movement(move, required_inputs=3, constants=(1, 2), several_outputs=True)
