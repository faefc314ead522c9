"""ARG_MAX of int8: the index of the largest value, the first of equal ones. Reference: .../reference/arg_min_max.h.

Indices are int32 (or int64, which TFLM lacks); in the graph they are bytes along one more axis, because everything that
the compiler places is (codegen.canonicalize.take_off_borders).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import arg_extremum
from codegen.operators.implementation import Implementation
from codegen.operators.movement import constant
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify(graph: Graph, operator: Operator) -> None:
    source, axis, output = (graph.tensor(i) for i in (*operator.inputs[:2], operator.outputs[0]))
    if axis.data is None or axis.dtype != "int32" or axis.data.size != 1:
        raise UnsupportedError(f"{operator.label} works along '{axis.name}', no constant of int32")
    if source.dtype != "int8" or not -len(source.shape) <= constant(graph, operator, 1)[0] < len(source.shape):
        raise ModelError(f"{operator.label} works along axis {constant(graph, operator, 1)[0]} of {source.shape}")
    shape = tuple(n for i, n in enumerate(source.shape) if i != _axis(graph, operator))
    if output.dtype == "int8":
        shape = (*shape, output.shape[-1])
    if output.shape != shape:
        raise ModelError(f"{operator.label} states output {output.shape}, its operands give {shape}")


def _axis(graph: Graph, operator: Operator) -> int:
    return constant(graph, operator, 1)[0] % len(graph.tensor(operator.inputs[0]).shape)


def by_arg_extremum(*, is_maximum: bool) -> Implementation:
    """Make ARG_MAX or ARG_MIN."""
    evaluate, lower = partial(_evaluate, is_maximum=is_maximum), partial(_lower, is_maximum=is_maximum)
    return Implementation(verify, evaluate, lower, required_inputs=2, output_dtypes=("int32", "int64"))


def _evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...], *, is_maximum: bool) -> IntArray:
    """Return the bytes of the indices."""
    shape = graph.tensor(operator.outputs[0]).shape
    indices = np.argmax(inputs[0] if is_maximum else -inputs[0], _axis(graph, operator))
    data: IntArray = indices.astype(f"<i{shape[-1]}").reshape(-1).view(np.int8).astype(np.int64).reshape(shape)
    return data


def _lower(graph: Graph, operator: Operator, context: Lowering, *, is_maximum: bool) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    before, after = context.storage[source.index], context.storage[output.index]
    axis, given, made = _axis(graph, operator), rows_of(source.shape, before), rows_of(output.shape, after)
    numbered = np.arange(np.prod(source.shape, dtype=np.int64)).reshape(source.shape)
    firsts: IntArray = np.take(numbered, 0, axis).reshape(made.count, -1)  # of the values that each index is of
    starts, pattern = firsts[:, 0], firsts[0] - firsts[0, 0]
    size, stride = source.shape[axis], int(np.prod(source.shape[axis + 1 :], dtype=np.int64))
    is_inside = int(pattern[-1]) + (size - 1) * stride < given.size_bytes
    by_rows = is_inside and np.array_equal(starts, np.arange(given.count) * given.size_bytes)
    built = arg_extremum.build(pattern, size, stride, output.shape[-1], (before, after), is_maximum=is_maximum)
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))}, along axis {axis}",
        (source.index,),
        output.index,
        (RowRead(0, tuple(range(made.count))) if by_rows else RowRead(0, tuple(starts.tolist()), is_linear=True),),
        *built,
    )


OPERATOR = by_arg_extremum(is_maximum=True)
