"""Share what operators do that compute each value from two operands, either of which may be broadcast or constant."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from codegen.arithmetic.scaled_sum import ScaledSum
from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.broadcast import INT8, Operand
from codegen.kernels.elementwise import Elementwise
from codegen.kernels.registry import ELEMENTWISE, NoKernelError, find
from codegen.operators.elementwise import lower_lookup
from codegen.program.kernel import Built
from codegen.program.program import Lowering, RowRead, Stage, row_axes, rows_of

MAX_RANK = 6

Function = Callable[[IntArray, IntArray], IntArray]  # of two operands' int8 values
Build = Callable[[tuple[Operand, Operand]], Built]


def operands_of(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """First operand, second operand, output."""
    first, second = operator.inputs[:2]
    return graph.tensor(first), graph.tensor(second), graph.tensor(operator.outputs[0])


def verify_broadcast(graph: Graph, operator: Operator) -> None:
    """Raise unless both operands are int8 and their shapes broadcast to the output's."""
    first, second, output = operands_of(graph, operator)
    for operand in (first, second):
        if operand.dtype != "int8" or len(operand.scales) != 1 or len(operand.shape) > MAX_RANK:
            raise UnsupportedError(
                f"{operator.label} takes '{operand.name}', not int8 of one scale and at most {MAX_RANK} dimensions"
            )
        if operand.scale <= 0.0:  # a constant's, as conv_2d's dead channels have it; TFLM stops at it here
            raise ModelError(f"{operator.label} takes '{operand.name}', of a scale that is not a positive number")
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        shape = ()
    if shape != output.shape:
        raise ModelError(f"{operator.label} takes {first.shape} and {second.shape}, and states {output.shape}")
    for operand in (first, second):
        if operand.data is None and is_mixed(operand.shape, output.shape):  # canonicalize.equivalent repeats it
            raise CompilerLimit(f"{operator.label} repeats {operand.shape} inside of the rows of {output.shape}")


def lower_broadcast(
    graph: Graph,
    operator: Operator,
    context: Lowering,
    function: Function,
    build: Build,
    exact: ScaledSum | None = None,
) -> Stage:
    """Choose a table where the output depends on one byte alone, else the kernel that `build` gives.

    `exact`: the function, where kernels for rows that lie alike know it.
    """
    table = _of_one_byte(graph, operator, function)
    if table is not None:
        return lower_lookup(graph, operator, table[0], context, argument=table[1])
    return (_of_alike(graph, operator, context, exact) if exact else None) or _stage(graph, operator, context, build)


def _of_alike(graph: Graph, operator: Operator, context: Lowering, exact: ScaledSum) -> Stage | None:
    """Make the stage of two rows that lie as the output's does, where a kernel knows the function."""
    first, second, output = operands_of(graph, operator)
    given = tuple(tensor for tensor in (first, second) if tensor.data is None and tensor.shape == output.shape)
    stored = context.storage[output.index]
    inputs, rows = tuple(context.storage[tensor.index] for tensor in given), rows_of(output.shape, stored)
    ratios = first.scale / output.scale, exact.sign * second.scale / output.scale
    layer = Elementwise(exact, rows.size_bytes, inputs, stored, ratios)
    found = find(ELEMENTWISE, layer, context.target) if len(given) == len(exact.operands) else None
    if found is None:
        if layer.layout != "interleaved":
            raise NoKernelError(f"{operator.label} has no kernel for rows that are {layer.layout}")
        return None
    reads = tuple(RowRead(i, tuple(range(rows.count))) for i in range(len(given)))
    names = tuple(tensor.index for tensor in given)
    summary = _summary(graph, operator, rows.count)
    return Stage(
        operator.index, operator.stem, summary, names, output.index, reads, *found.build(layer, context.target)
    )


def _summary(graph: Graph, operator: Operator, rows: int) -> str:
    first, second, output = operands_of(graph, operator)
    sizes = ["x".join(map(str, tensor.shape[1:] or (1,))) for tensor in (first, second)]
    scales = f"scales {first.scale:g} and {second.scale:g} -> {output.scale:g}"
    return f"{sizes[0]} and {sizes[1]}, {scales}, {rows} rows"


def _of_one_byte(graph: Graph, operator: Operator, function: Function) -> tuple[IntArray, int] | None:
    """Return the table of 256, and the operand that it is of."""
    first, second, output = operands_of(graph, operator)
    if first.index == second.index:
        return function(INT8, INT8), 0
    if _is_uniform(second) and first.shape == output.shape:
        return function(INT8, _values(second).reshape(-1)[:1]), 0
    if _is_uniform(first) and second.shape == output.shape:
        return function(_values(first).reshape(-1)[:1], INT8), 1
    return None


def _stage(graph: Graph, operator: Operator, context: Lowering, build: Build) -> Stage:
    first, second, output = operands_of(graph, operator)
    stored = context.storage[output.index]
    activations = [tensor for tensor in (first, second) if tensor.data is None]
    reads = [_read(number, tensor, output, context) for number, tensor in enumerate(activations)]
    operands = _operand(first, output, context), _operand(second, output, context)
    return Stage(
        operator.index,
        operator.stem,
        _summary(graph, operator, rows_of(output.shape, stored).count),
        tuple(tensor.index for tensor in activations),
        output.index,
        tuple(reads),
        *build(operands),
    )


def _read(number: int, tensor: Tensor, output: Tensor, context: Lowering) -> RowRead:
    """By rows where the operand's are those of the output, else by offsets into the whole of it."""
    rows = _row_numbers(tensor, output)
    count, width, channels = _extents(tensor.shape, output.shape)
    own = rows_of(tensor.shape, context.storage[tensor.index])
    if (own.count, own.size_bytes) == (count, width * channels):
        return RowRead(number, tuple(rows.tolist()))
    return RowRead(number, tuple((rows * width * channels).tolist()), is_linear=True)


def _aligned(shape: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, ...]:
    return (*(1,) * (len(output) - len(shape)), *shape)


def _extents(shape: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows, width and channels of an operand, as the output's axes are."""
    axes, aligned = row_axes(len(output)), _aligned(shape, output)
    return prod(aligned[:axes]), prod(aligned[axes:-1]), prod(aligned[-1:])


def _row_numbers(tensor: Tensor, output: Tensor) -> IntArray:
    """Return the operand's row for each of the output's."""
    axes = row_axes(len(output.shape))
    here = _aligned(tensor.shape, output.shape)[:axes]
    return np.broadcast_to(np.arange(prod(here)).reshape(here), output.shape[:axes]).reshape(-1)


def is_mixed(shape: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Whether several axes make the width of a row, of which only some are broadcast."""
    axes = row_axes(len(output))
    here, there = _aligned(shape, output)[axes:-1], output[axes:-1]
    return here != there and prod(here) != 1


def _operand(tensor: Tensor, output: Tensor, context: Lowering) -> Operand:
    if tensor.data is None:
        return Operand(_extents(tensor.shape, output.shape), context.storage[tensor.index], tensor.scale)
    values, shape = _values(tensor).reshape(_aligned(tensor.shape, output.shape)), output.shape
    axes = row_axes(len(shape))
    if prod(values.shape[:axes]) > 1:
        values = np.broadcast_to(values, (*shape[:axes], *values.shape[axes:]))
    if is_mixed(tensor.shape, shape):
        values = np.broadcast_to(values, (*values.shape[:axes], *shape[axes:-1], *values.shape[-1:]))
    extents = _extents(values.shape, shape)
    return Operand(extents, None, tensor.scale, values.reshape(extents))


def _values(tensor: Tensor) -> IntArray:
    assert tensor.data is not None
    return tensor.data.astype(np.int64)


def _is_uniform(tensor: Tensor) -> bool:
    return tensor.data is not None and len(np.unique(tensor.data)) == 1
