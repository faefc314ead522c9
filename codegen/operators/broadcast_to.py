"""BROADCAST_TO a constant shape. Reference: .../reference/broadcast_to.h of tflite-micro."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    shape = constant(graph, operator, 1)
    require_size(graph, operator, shape)
    return (np.broadcast_to(inputs[0], shape),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,))
