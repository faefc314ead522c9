"""CONCATENATION, int8. Reference: .../reference/concatenation.h; inputs must share the output's quantization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError, UnsupportedError
from codegen.ir import Graph, IntArray, Operator
from codegen.program import Kernel, Stage


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
    if not 1 <= axis < len(output.shape):
        raise UnsupportedError(f"{operator.label} joins along axis {axis}")
    total = 0
    for index in operator.inputs:
        source = graph.tensor(index)
        if source.data is not None:
            raise UnsupportedError(f"{operator.label} joins the constant '{source.name}'")
        if (source.scales, source.zero_points) != (output.scales, output.zero_points):
            raise UnsupportedError(f"{operator.label}: input '{source.name}' and output differ in quantization")
        if source.shape[:axis] + source.shape[axis + 1 :] != output.shape[:axis] + output.shape[axis + 1 :]:
            raise ModelError(f"{operator.label} joins {source.shape} into {output.shape} along axis {axis}")
        total += source.shape[axis]
    if total != output.shape[axis]:
        raise ModelError(f"{operator.label} joins {total} of {output.shape[axis]} along axis {axis}")


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.concatenate(inputs, axis=_axis(graph, operator))


def lower(graph: Graph, operator: Operator) -> Stage:
    axis, output = _axis(graph, operator), graph.tensor(operator.outputs[0])
    shapes = [graph.tensor(i).shape for i in operator.inputs]
    block_bytes = tuple(int(np.prod(shape[axis:])) for shape in shapes)
    blocks = int(np.prod(output.shape[:axis]))
    kernel = Kernel(
        "concatenation",
        f"{blocks}_blocks_of_{'_'.join(map(str, block_bytes))}",
        (("blocks", blocks), ("block_bytes", block_bytes)),
        input_count=len(shapes),
    )
    joined = " + ".join("x".join(map(str, shape[1:])) for shape in shapes)
    return Stage(
        operator.index,
        operator.stem,
        f"{joined} -> {'x'.join(map(str, output.shape[1:]))}",
        operator.inputs,
        operator.outputs[0],
        kernel,
    )
