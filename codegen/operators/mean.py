"""MEAN, int8, over any axes. Reference: QuantizedMeanOrSum in tensorflow/lite/kernels/internal/reference/reduce.h."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import reduce
from codegen.kernels.portable.reduce import Axis, merged
from codegen.operators.implementation import Implementation
from codegen.program.kernel import Built
from codegen.program.program import Lowering, RowRead, Stage, row_axes, rows_of, run_over_rows

MAX_AXES = 5  # as many as TFLM has room for


def by_reduction(*, mean: bool) -> Implementation:
    """Make MEAN or SUM."""
    return Implementation(
        partial(_verify, mean=mean), partial(_evaluate, mean=mean), partial(_lower, mean=mean), required_inputs=2
    )


def _verify(graph: Graph, operator: Operator, *, mean: bool) -> None:
    verify_axes(graph, operator)
    _, shift, count = scaling(graph, operator, mean=mean)
    if shift < -31 or (count * 255) << max(shift, 0) > INT32_MAX:
        raise UnsupportedError(f"{operator.label} has sums of {count} values that do not fit its 32 bits when scaled")


def verify_axes(graph: Graph, operator: Operator) -> None:
    """Raise unless the axes are constants of the input, and leave the output's shape."""
    source, output, axis = (graph.tensor(i) for i in (operator.inputs[0], operator.outputs[0], operator.inputs[1]))
    rank = len(source.shape)
    if axis.data is None or axis.dtype != "int32" or not 1 <= axis.data.size <= rank:
        raise UnsupportedError(f"{operator.label} has axes that are no constant of 1 to {rank} int32")
    if not all(-rank <= int(value) < rank for value in np.ravel(axis.data)):
        raise ModelError(f"{operator.label} reduces axes {np.ravel(axis.data).tolist()} of {rank}")
    if rank > MAX_AXES:
        raise UnsupportedError(f"{operator.label} reduces {source.shape}: at most {MAX_AXES} axes")
    reduced = axes(graph, operator)
    left = [size for i, size in enumerate(source.shape) if i not in reduced]
    if [size for size in left if size > 1] != [size for size in output.shape if size > 1]:
        raise ModelError(f"{operator.label} states output {output.shape}, its axes leave {tuple(left)}")


def axes(graph: Graph, operator: Operator) -> tuple[int, ...]:
    """Which axes of the input are reduced, from 0, each once."""
    rank, data = len(graph.tensor(operator.inputs[0]).shape), graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    return tuple(sorted({int(axis) % rank for axis in np.ravel(data)}))


def scaling(graph: Graph, operator: Operator, *, mean: bool) -> tuple[int, int, int]:
    """(multiplier, shift, elements in each sum); of a mean with the division by their number."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    count = int(np.prod([source.shape[axis] for axis in axes(graph, operator)], dtype=np.int64))
    multiplier, shift = quantize_multiplier(source.scale / output.scale)
    if mean:
        # The quotient keeps its bits where it is raised by a power of two first.
        raised = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << raised) // count, shift - raised
    return multiplier, shift, count


def _evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...], *, mean: bool) -> IntArray:
    """int64 of the input's shape -> int64 of the output's."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift, count = scaling(graph, operator, mean=mean)
    sums = inputs[0].sum(axes(graph, operator)) - source.zero_point * count
    scaled = multiply_by_quantized_multiplier(sums, multiplier, shift)
    return np.clip(scaled + output.zero_point, -128, 127).reshape(output.shape)


def _lower(graph: Graph, operator: Operator, context: Lowering, *, mean: bool) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    multiplier, shift, _ = scaling(graph, operator, mean=mean)
    before, after = context.storage[source.index], context.storage[output.index]
    walk, zero_points = walk_axes(graph, operator, context), (source.zero_point, output.zero_point)
    built = reduce.build(walk.kept, walk.reduced, (multiplier, shift), zero_points, before, after)
    return reduction_stage(graph, operator, walk, built)


def reduction_stage(graph: Graph, operator: Operator, walk: Walk, built: Built) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    stage = Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))} -> {'x'.join(map(str, output.shape[1:]))}, "
        f"of {prod(source.shape) // prod(output.shape)} values each",
        (source.index,),
        output.index,
        (RowRead(0, walk.starts, is_linear=True),),
        *built,
    )
    return _over_rows(stage, source.shape, axes(graph, operator))


def _over_rows(stage: Stage, shape: tuple[int, ...], reduced: tuple[int, ...]) -> Stage:
    """Let it run where every row of the input goes into every result."""
    outer, kernel = row_axes(len(shape)), stage.kernel
    rows = prod(shape[:outer])
    if rows == 1 or len(stage.reads[0].rows) > 1 or any(shape[i] > 1 for i in range(outer) if i not in reduced):
        return stage
    assert isinstance(kernel, reduce.Reduce)
    every = dict(enumerate(_axes_of(shape)))
    kept, inner = ([every[i] for i in every if i >= outer and (i in reduced) == is_reduced] for is_reduced in (0, 1))
    add = reduce.build_running(kernel.kind, merged(kept), merged(inner), kernel.inputs[0])
    size = prod(axis.size for axis in kept)
    row_bytes = size * add.kernel.output.value_bytes
    return run_over_rows(stage, add, reduce.build_finish(kernel, size), row_bytes=row_bytes, rows=rows)


@dataclass(frozen=True)
class Walk:
    """Where each output row begins in the input; axes of an output row, and of what becomes one value."""

    starts: tuple[int, ...]
    kept: tuple[Axis, ...]
    reduced: tuple[Axis, ...]


def walk_axes(graph: Graph, operator: Operator, context: Lowering) -> Walk:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    rows, reduced = rows_of(output.shape, context.storage[output.index]), axes(graph, operator)
    every = _axes_of(source.shape)
    kept = [axis for i, axis in enumerate(every) if i not in reduced and axis.size > 1]
    outer: list[Axis] = []
    while prod(axis.size for axis in outer) < rows.count:
        outer.append(kept.pop(0))
    starts = np.zeros(1, np.int64)
    for axis in outer:
        starts = (starts[:, None] + np.arange(axis.size) * axis.step).ravel()
    summed = [axis for i, axis in enumerate(every) if i in reduced]
    return Walk(tuple(starts.tolist()), merged(kept), merged(summed))


def _axes_of(shape: tuple[int, ...]) -> list[Axis]:
    return [Axis(size, prod(shape[i + 1 :])) for i, size in enumerate(shape)]


OPERATOR = by_reduction(mean=True)
