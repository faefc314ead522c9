"""Compute what depends on constants and shapes alone, such as the shape that a RESHAPE is given by SHAPE and PACK."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator, Tensor

_FOLDABLE_BYTES = 1 << 16  # constants made by folding; shapes are a few numbers


def fold_constants(graph: Graph) -> Graph:
    """Operators on constants, and SHAPE of tensors whose shape is known, become constants."""
    tensors, left = list(graph.tensors), []
    for operator in graph.operators:
        folded = _folded(replace(graph, tensors=tuple(tensors)), operator)
        if folded is None:
            left.append(operator)
        for index, data in zip(operator.outputs, folded or (), strict=False):
            tensors[index] = replace(tensors[index], data=data, shape=data.shape)
    return replace(graph, tensors=tuple(tensors), operators=tuple(left))


def _folded(graph: Graph, operator: Operator) -> tuple[npt.NDArray[np.generic], ...] | None:
    outputs = [graph.tensor(i) for i in operator.outputs]
    if operator.stem == "shape" and len(operator.inputs) == 1 and len(outputs) == 1:
        return (np.array(graph.tensor(operator.inputs[0]).shape, outputs[0].dtype),)
    if operator.stem == "fill" and len(operator.inputs) == 2 and len(outputs) == 1 and min(operator.inputs) >= 0:
        return _filled(graph.tensor(operator.inputs[0]), graph.tensor(operator.inputs[1]), outputs[0])
    implementation = ops.IMPLEMENTATIONS.get(operator.stem)
    move = implementation.move if implementation else None
    inputs = [graph.tensor(i) for i in operator.inputs if i >= 0]
    if move is None or not inputs or any(tensor.data is None for tensor in inputs):
        return None
    if sum(tensor.size_bytes for tensor in (*inputs, *outputs)) > _FOLDABLE_BYTES:
        return None
    values: tuple[Any, ...] = tuple(  # of any type: folding moves what the file has
        np.asarray(graph.tensor(i).data) if i >= 0 else np.zeros(0) for i in operator.inputs
    )
    try:
        moved = move(graph, operator, values)
    except (ArithmeticError, AssertionError, IndexError, TypeError, ValueError):
        return None  # `verify` will say what is wrong with it
    return tuple(np.asarray(value) for value in moved)


def _filled(dimensions: Tensor, value: Tensor, output: Tensor) -> tuple[npt.NDArray[np.generic]] | None:
    """One number everywhere: a recurrent layer's first state, whose batch was left open."""
    if dimensions.data is None or value.data is None or value.data.size != 1 or value.dtype != output.dtype:
        return None
    is_stated = tuple(np.ravel(dimensions.data).tolist()) == output.shape and output.size_bytes <= _FOLDABLE_BYTES
    return (np.full(output.shape, value.data.reshape(-1)[0]),) if is_stated else None
