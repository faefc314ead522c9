"""PAD, int8, of up to five axes. Reference: .../reference/pad.h (PadImpl); it fills with the output's zero point."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import pad
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage, row_axes

MAX_RANK = 5
Paddings = tuple[tuple[int, int], ...]


def verify(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    paddings = graph.tensor(operator.inputs[1])
    rank = len(source.shape)
    if paddings.data is None or paddings.dtype not in ("int32", "int64") or paddings.shape != (rank, 2):
        raise UnsupportedError(f"{operator.label} has paddings that are not a constant ({rank}, 2) tensor")
    if rank > MAX_RANK:
        raise UnsupportedError(f"{operator.label} pads {source.shape}, of more than {MAX_RANK} dimensions")
    amounts = paddings_of(graph, operator)
    if min((n for pair in amounts for n in pair), default=0) < 0:
        raise ModelError(f"{operator.label} has negative padding")
    if tuple(n + sum(pair) for n, pair in zip(source.shape, amounts, strict=True)) != output.shape:
        raise ModelError(f"{operator.label} states output {output.shape}, its paddings give another")
    if len(operator.inputs) > 2:
        _verify_fill(graph, operator)
    axes = row_axes(rank)
    if len(_merged(source.shape[axes:], amounts[axes:])) > 2:  # codegen.canonicalize.equivalent has made two of it
        raise CompilerLimit(f"{operator.label} pads three dimensions inside of a row: {list(amounts)}")


def _verify_fill(graph: Graph, operator: Operator) -> None:
    """PADV2's value, one byte of the output's quantization."""
    fill, output = graph.tensor(operator.inputs[2]), graph.tensor(operator.outputs[0])
    if fill.data is None or fill.dtype != "int8" or fill.data.size != 1:
        raise UnsupportedError(f"{operator.label} fills with '{fill.name}', no constant int8 number")
    if (fill.scales, fill.zero_points) != (output.scales, output.zero_points):
        raise UnsupportedError(f"{operator.label} fills with a number of another quantization than its output's")


def paddings_of(graph: Graph, operator: Operator) -> Paddings:
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    return tuple((int(before), int(after)) for before, after in data)


def _fill(graph: Graph, operator: Operator) -> int:
    given = graph.tensor(operator.inputs[2]).data if len(operator.inputs) > 2 else None
    return graph.tensor(operator.outputs[0]).zero_point if given is None else int(given.reshape(-1)[0])


def _merged(sizes: Sequence[int], paddings: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(size, before, after) of as few axes as possible: one without padding joins the one in front of it."""
    merged = [(1, 0, 0)]
    for size, (before, after) in zip(reversed(sizes), reversed(paddings), strict=True):
        inner, *padded = merged[0]
        if any(padded):
            merged.insert(0, (size, before, after))
        else:
            merged[0] = (size * inner, before * inner, after * inner)
    return merged


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.pad(inputs[0], paddings_of(graph, operator), constant_values=_fill(graph, operator))


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    paddings, axes = paddings_of(graph, operator), row_axes(len(source.shape))
    rows = np.arange(prod(source.shape[:axes])).reshape(source.shape[:axes])
    rows = np.pad(rows, paddings[:axes], constant_values=-1) if axes else rows
    width, channels = ((1, 0, 0), *_merged(source.shape[axes:], paddings[axes:]))[-2:]
    built = pad.build(
        (width[0], channels[0]),
        (sum(width), sum(channels)),
        left=width[1],
        front=channels[1],
        fill=_fill(graph, operator),
        storage=context.storage[output.index],
    )
    shapes = ["x".join(map(str, tensor.shape[1:])) for tensor in (source, output)]
    return Stage(
        operator.index,
        operator.stem,
        f"{shapes[0]} -> {shapes[1]}, filled with {_fill(graph, operator)}",
        (operator.inputs[0],),
        operator.outputs[0],
        (RowRead(0, tuple(rows.reshape(-1).tolist())),),
        *built,
        part=operator.part,
    )


OPERATOR = Implementation(verify, evaluate, lower, required_inputs=2, moves_bytes=True)
