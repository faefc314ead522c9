"""REVERSE_V2 of constant axes. Reference: .../reference/reverse.h of tflite-micro."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (np.flip(inputs[0], constant(graph, operator, 1)),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,))
