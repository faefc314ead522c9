"""TILE: the input repeated along its axes. Reference: tensorflow/lite/kernels/tile.cc; TFLM has no such kernel."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    repeats = constant(graph, operator, 1)
    require_size(graph, operator, (inputs[0].size, *repeats))
    return (np.tile(inputs[0], repeats),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,))
