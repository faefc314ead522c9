"""PAD, int8. Reference: .../reference/pad.h; the padding value is the output's zero point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import pad
from codegen.program.program import Lowering, RowRead, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 1
MOVES_BYTES = True


def read_options(table: Any) -> Mapping[str, int]:
    return {}


def _paddings(graph: Graph, operator: Operator) -> tuple[tuple[int, int], ...]:
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    return tuple((int(before), int(after)) for before, after in data)


def verify(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    paddings = graph.tensor(operator.inputs[1])
    if paddings.data is None or paddings.dtype not in ("int32", "int64") or paddings.shape != (4, 2):
        raise UnsupportedError(f"{operator.label} has paddings that are not a constant (4, 2) tensor")
    if len(source.shape) != 4:
        raise UnsupportedError(f"{operator.label} pads {source.shape}, not (1, height, width, channels)")
    amounts = _paddings(graph, operator)
    if min(n for pair in amounts for n in pair) < 0:
        raise ModelError(f"{operator.label} has negative padding")
    if tuple(n + sum(pair) for n, pair in zip(source.shape, amounts, strict=True)) != output.shape:
        raise ModelError(f"{operator.label} states output {output.shape}, its paddings give another")
    if (source.scales, source.zero_points) != (output.scales, output.zero_points):
        raise UnsupportedError(f"{operator.label} changes quantization between input and output")


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    fill = graph.tensor(operator.outputs[0]).zero_point
    return np.pad(inputs[0], _paddings(graph, operator), constant_values=fill)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    _, (top, _), (left, _), (front, _) = _paddings(graph, operator)
    _, in_height, in_width, in_channels = source.shape
    _, out_height, out_width, out_channels = output.shape
    built = pad.build(
        (in_width, in_channels),
        (out_width, out_channels),
        left=left,
        front=front,
        zero_point=output.zero_point,
        storage=context.storage[output.index],
    )
    return Stage(
        operator.index,
        operator.stem,
        f"{in_height}x{in_width}x{in_channels} -> {out_height}x{out_width}x{out_channels}, "
        f"{top} above, {left} left, filled with {output.zero_point}",
        (operator.inputs[0],),
        operator.outputs[0],
        (RowRead(0, tuple(y - top for y in range(out_height))),),
        *built,
    )
