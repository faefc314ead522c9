"""Lower operators that only move values: each output value is one input's value at some place.

Such an operator gives `move`: arrays of the inputs' shapes -> arrays of the outputs' shapes. Applied to values it is
the oracle; applied to positions it says which input byte each output byte comes from, from which a kernel follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import concatenation, copy, gather, strided_copy
from codegen.operators.implementation import Implementation, Move, no_options
from codegen.program.kernel import Built, Storage
from codegen.program.program import Lowering, RowRead, Rows, Stage, rows_of

FALSE_SHAPES = "export it with a batch of 1: where the batch is left open, converters state shapes that are false"
MAX_ROWS = 8  # input rows that one output row may be put together from while both stream


def by_movement(
    move: Move,
    *,
    required_inputs: int = 1,
    variable_inputs: int = 1,
    constants: Sequence[int] = (),
    check: Callable[[Graph, Operator], None] | None = None,
    read_options: Callable[[Any], Mapping[str, int | bool | str | float]] = no_options,
    several_outputs: bool = False,
) -> Implementation:
    """Make an operator of its `move`; the inputs at `constants` are constant integers, and `check` may refuse it."""

    def verify(graph: Graph, operator: Operator) -> None:
        verify_movement(graph, operator, move, constants)
        if check:
            check(graph, operator)

    def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
        return lower_movement(graph, operator, context, move)

    return Implementation(
        verify,
        move,
        lower,
        read_options,
        required_inputs,
        variable_inputs,
        moves_bytes=True,
        move=move,
        several_outputs=several_outputs,
    )


def reshaped(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    """Move nothing: the same bytes, in the output's shape."""
    return (inputs[0].reshape(graph.tensor(operator.outputs[0]).shape),)


def constant(graph: Graph, operator: Operator, position: int) -> tuple[int, ...]:
    """Return the integers of the constant at an input position, flattened; `verify` has made sure that it is one."""
    data = graph.tensor(operator.inputs[position]).data
    assert data is not None
    return tuple(int(value) for value in np.ravel(data))


def require_size(graph: Graph, operator: Operator, shape: Sequence[int]) -> None:
    """Raise ValueError unless that many values are the output's, before they are made."""
    stated, count = graph.tensor(operator.outputs[0]).shape, prod(int(n) for n in shape)
    if count != prod(stated):
        raise ValueError(f"{count:,} values do not fill {stated}")


def split_at(values: IntArray, sizes: Sequence[int], axis: int) -> tuple[IntArray, ...]:
    return tuple(np.split(values, np.cumsum(sizes)[:-1], axis))


def lower_movement(graph: Graph, operator: Operator, context: Lowering, move: Move) -> tuple[Stage, ...]:
    """One stage for each output."""
    sources = tuple(i for i in operator.inputs if i >= 0 and graph.tensor(i).data is None)
    numbered, first = [], 0
    for index in operator.inputs:
        if index in sources:
            shape = graph.tensor(index).shape
            numbered.append(first + np.arange(np.prod(shape, dtype=np.int64)).reshape(shape))
            first += numbered[-1].size
        else:
            numbered.append(np.zeros(0, np.int64))
    moved = move(graph, operator, tuple(numbered))
    return tuple(
        _stage(graph, operator, context, position, sources, positions) for position, positions in enumerate(moved)
    )


def _stage(
    graph: Graph,
    operator: Operator,
    context: Lowering,
    position: int,
    sources: tuple[int, ...],
    positions: IntArray,
) -> Stage:
    """`positions` has the output's shape and numbers the bytes of all sources, one behind the other."""
    output = graph.tensor(operator.outputs[position])
    stored = context.storage[output.index]
    rows = rows_of(output.shape, stored)
    reads, built = _kernel(graph, sources, positions.reshape(rows.count, rows.size_bytes), stored)
    used = sorted({read.input for read in reads})
    shapes = " + ".join("x".join(map(str, graph.tensor(sources[i]).shape[1:])) for i in used)
    return Stage(
        operator.index,
        operator.stem,
        f"{shapes} -> {'x'.join(map(str, output.shape[1:]))}, moved",
        tuple(sources[i] for i in used),
        output.index,
        tuple(RowRead(used.index(read.input), read.rows, read.is_linear) for read in reads),
        *built,
        part=operator.part,
        position=position,
    )


def _kernel(
    graph: Graph, sources: tuple[int, ...], positions: IntArray, stored: Storage
) -> tuple[tuple[RowRead, ...], Built]:
    layouts = [rows_of(graph.tensor(i).shape, stored) for i in sources]
    starts = np.cumsum([0, *(rows.count * rows.size_bytes for rows in layouts)])
    source = np.searchsorted(starts, positions, side="right") - 1
    within = positions - starts[source]
    row_bytes = np.array([rows.size_bytes for rows in layouts])[source]
    row, column = within // row_bytes, within % row_bytes
    return (
        _whole_rows(layouts, source, row, column, stored)
        or _streamed(layouts, source, row, column, stored)
        or _from_whole(source, within, stored, layouts)
    )


def _whole_rows(
    layouts: list[Rows], source: IntArray, row: IntArray, column: IntArray, stored: Storage
) -> tuple[tuple[RowRead, ...], Built] | None:
    """Every output row is one row of one input."""
    size = column.shape[1]
    alike = (source == source[:, :1]).all() and (row == row[:, :1]).all() and (column == np.arange(size)).all()
    used = sorted(set(source[:, 0].tolist()))
    if not alike or len(used) > MAX_ROWS or any(layouts[i].size_bytes != size for i in used):
        return None
    reads = tuple(RowRead(i, tuple(np.where(source[:, 0] == i, row[:, 0], -1).tolist())) for i in used)
    return reads, copy.build(size, stored) if len(used) == 1 else concatenation.build_by_rows(size, len(used), stored)


def _streamed(
    layouts: list[Rows], source: IntArray, row: IntArray, column: IntArray, stored: Storage
) -> tuple[tuple[RowRead, ...], Built] | None:
    """Every output row is put together from a few input rows, always in the same way."""
    pairs = source * (1 + max(rows.count for rows in layouts)) + row
    slots, taken = None, []
    for y in range(len(pairs)):
        _, first, inverse = np.unique(pairs[y], return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))[inverse]  # by first use
        slots = order if slots is None else slots
        if len(first) > MAX_ROWS or not np.array_equal(order, slots) or not np.array_equal(column[y], column[0]):
            return None
        taken.append(np.sort(first))
    assert slots is not None
    if any(not np.array_equal(source[y, taken[y]], source[0, taken[0]]) for y in range(len(pairs))):
        return None
    segments = strided_copy.segments_of(slots, column[0])
    if segments is None:
        return None
    reads = tuple(
        RowRead(int(source[0, taken[0][slot]]), tuple(int(row[y, taken[y][slot]]) for y in range(len(pairs))))
        for slot in range(len(taken[0]))
    )
    inputs = len({read.input for read in reads})
    return reads, strided_copy.build(segments, len(reads), inputs, stored, f"{column.shape[1]}_of_{len(reads)}_rows")


def _from_whole(
    source: IntArray, within: IntArray, stored: Storage, layouts: list[Rows]
) -> tuple[tuple[RowRead, ...], Built]:
    """Every output row is put together from all over the inputs."""
    used, size = sorted(set(source.ravel().tolist())), within.shape[1]
    sizes = {i: layouts[i].count * layouts[i].size_bytes for i in used}
    if len(used) > 1:
        begins = np.zeros(len(layouts), np.int64)
        begins[used] = np.cumsum([0, *sizes.values()])[:-1]
        reads = tuple(RowRead(i, (0,) * len(within), is_linear=True) for i in used)
        name = f"{size}_of_{'_'.join(map(str, sizes.values()))}"
        return reads, gather.build(within + begins[source], tuple(sizes.values()), stored, name)
    only = used[0]
    starts = within.min(1)
    patterns = within - starts[:, None]
    if (patterns == patterns[0]).all():
        segments = strided_copy.segments_of(np.zeros(size, np.int64), patterns[0])
        if segments is not None:
            reads = (RowRead(only, tuple(starts.tolist()), is_linear=True),)
            return reads, strided_copy.build(segments, 1, 1, stored, f"{size}_of_whole")
    reads = (RowRead(only, (0,) * len(within), is_linear=True),)
    return reads, gather.build(within, (sizes[only],), stored, f"{size}_of_{sizes[only]}")


def verify_movement(graph: Graph, operator: Operator, move: Move, constants: Sequence[int]) -> None:
    """Raise unless the inputs at `constants` are integers, the others activations, and shapes as stated."""
    for position, index in enumerate(operator.inputs):
        tensor = graph.tensor(index)
        if position in constants and (tensor.data is None or tensor.dtype not in ("int32", "int64")):
            raise UnsupportedError(f"{operator.label}: '{tensor.name}' is no constant of integers")
        if position not in constants and tensor.data is not None:
            raise UnsupportedError(f"{operator.label} moves the constant '{tensor.name}'", hint="fold constants")
    blank = tuple(np.broadcast_to(np.int64(0), graph.tensor(i).shape) for i in operator.inputs)
    try:
        shapes = [moved.shape for moved in move(graph, operator, blank)]
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"{operator.label} contradicts its shapes: {error}", hint=FALSE_SHAPES) from error
    stated = [graph.tensor(i).shape for i in operator.outputs]
    if shapes != stated:
        raise ModelError(f"{operator.label} states outputs {stated}, its inputs give {shapes}", hint=FALSE_SHAPES)
