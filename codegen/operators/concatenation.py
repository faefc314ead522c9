"""CONCATENATION, int8. Reference: .../reference/concatenation.h; inputs must share the output's quantization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import concatenation
from codegen.operators.implementation import Implementation
from codegen.operators.movement import lower_movement
from codegen.program.kernel import Built, Storage
from codegen.program.program import Lowering, RowRead, Stage


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.ConcatenationOptions()
    options.Init(table.Bytes, table.Pos)
    return {"axis": options.Axis(), "activation": options.FusedActivationFunction()}


def _axis(graph: Graph, operator: Operator) -> int:
    rank = len(graph.tensor(operator.outputs[0]).shape)
    axis = int(operator.options["axis"])
    return axis + rank if axis < 0 else axis


def verify(graph: Graph, operator: Operator) -> None:
    output, axis = graph.tensor(operator.outputs[0]), _axis(graph, operator)
    if operator.options["activation"] != tflite.ActivationFunctionType.NONE:
        raise UnsupportedError(f"{operator.label} fuses an activation")
    if not 0 <= axis < len(output.shape):
        raise UnsupportedError(f"{operator.label} joins along axis {axis}")
    if min(operator.inputs) < 0:
        raise ModelError(f"{operator.label} joins an absent input")
    for index in operator.inputs:
        source = graph.tensor(index)
        if (source.scales, source.zero_points) != (output.scales, output.zero_points):
            raise UnsupportedError(f"{operator.label}: input '{source.name}' and output differ in quantization")
        if source.shape[:axis] + source.shape[axis + 1 :] != output.shape[:axis] + output.shape[axis + 1 :]:
            raise ModelError(f"{operator.label} joins {source.shape} into {output.shape} along axis {axis}")
    total = sum(graph.tensor(index).shape[axis] for index in operator.inputs)
    if total != output.shape[axis]:
        raise ModelError(f"{operator.label} joins {total} of {output.shape[axis]} along axis {axis}")
    for index in operator.inputs:
        if graph.tensor(index).data is not None:
            raise CompilerLimit(f"{operator.label} joins the constant '{graph.tensor(index).name}'")


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.concatenate(inputs, axis=_axis(graph, operator))


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (np.concatenate(inputs, _axis(graph, operator)),)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage | tuple[Stage, ...]:
    axis, output = _axis(graph, operator), graph.tensor(operator.outputs[0])
    shapes = [graph.tensor(i).shape for i in operator.inputs]
    stored = context.storage[output.index]
    if len(output.shape) != 4 or output.shape[0] != 1 or axis == 0:
        return lower_movement(graph, operator, context, move)
    built, reads = _by_rows(shapes, stored) if axis == 1 else _within_rows(shapes, axis, stored)
    joined = " + ".join("x".join(map(str, shape[1:])) for shape in shapes)
    return Stage(
        operator.index,
        operator.stem,
        f"{joined} -> {'x'.join(map(str, output.shape[1:]))}",
        operator.inputs,
        operator.outputs[0],
        reads,
        *built,
    )


def _within_rows(shapes: list[tuple[int, ...]], axis: int, stored: Storage) -> tuple[Built, tuple[RowRead, ...]]:
    """Every output row takes a part of the same row of every input."""
    block_bytes = tuple(int(np.prod(shape[axis:])) for shape in shapes)
    same = tuple(range(shapes[0][1]))
    reads = tuple(RowRead(i, same) for i in range(len(shapes)))
    return concatenation.build_within_rows(int(np.prod(shapes[0][2:axis])), block_bytes, stored), reads


def _by_rows(shapes: list[tuple[int, ...]], stored: Storage) -> tuple[Built, tuple[RowRead, ...]]:
    """Every output row is a row of one of the inputs; the others' pointers are absent."""
    heights = [shape[1] for shape in shapes]
    starts = np.cumsum([0, *heights])
    reads = tuple(RowRead(i, tuple((np.arange(starts[-1]) - starts[i]).tolist())) for i in range(len(shapes)))
    return concatenation.build_by_rows(int(np.prod(shapes[0][2:])), len(shapes), stored), reads


OPERATOR = Implementation(verify, evaluate, lower, read_options, moves_bytes=True, move=move)
