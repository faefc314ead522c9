"""GATHER along one axis, at constant indices. Reference: .../reference/gather.h of tflite-micro."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.GatherOptions()
    if table is not None:
        options.Init(table.Bytes, table.Pos)
    return {"axis": 0 if table is None else options.Axis(), "batch": 0 if table is None else options.BatchDims()}


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    indices, axis = graph.tensor(operator.inputs[1]), int(operator.options["axis"])
    values, shape = inputs[0], graph.tensor(operator.inputs[0]).shape
    if operator.options["batch"] or not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis}, batch dimensions {operator.options['batch']} of {shape}")
    axis %= len(shape)
    require_size(graph, operator, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))
    taken = np.array(constant(graph, operator, 1), np.int64).reshape(indices.shape)
    if taken.size and not 0 <= taken.min() <= taken.max() < shape[axis]:
        raise ValueError(f"indices {taken.min()} .. {taken.max()} of {shape[axis]}")
    return (np.take(values, taken, axis),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,), read_options=read_options)
