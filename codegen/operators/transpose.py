"""TRANSPOSE: axes in another order. Reference: .../reference/transpose.h."""

from __future__ import annotations

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (inputs[0].transpose(constant(graph, operator, 1)),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,))
