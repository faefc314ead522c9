"""GATHER_ND at constant indices. Reference: .../kernels/gather_nd.cc of tflite-micro."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    indices, shape = graph.tensor(operator.inputs[1]), graph.tensor(operator.inputs[0]).shape
    depth = indices.shape[-1]
    require_size(graph, operator, (*indices.shape[:-1], *shape[depth:]))
    places = np.array(constant(graph, operator, 1), np.int64).reshape(-1, depth)
    if not 1 <= depth <= len(shape) or (places < 0).any() or (places >= shape[:depth]).any():
        raise ValueError(f"places {places.tolist()[:3]} of {shape}")
    taken = inputs[0][tuple(places[:, axis] for axis in range(depth))]
    return (taken.reshape((*indices.shape[:-1], *shape[depth:])),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,))
