"""REDUCE_MAX, int8, over any axes: bytes of the input. Reference: EvalMaxHelper in TFLM's kernels/reduce_common.cc."""

from __future__ import annotations

from functools import partial

import numpy as np

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import reduce
from codegen.kernels.portable.reduce import Extremum
from codegen.operators.implementation import Implementation
from codegen.operators.mean import axes, reduction_stage, verify_axes, walk_axes
from codegen.program.program import Lowering, Stage


def by_extremum(kind: Extremum) -> Implementation:
    """Make REDUCE_MAX or REDUCE_MIN."""
    evaluate, lower = partial(_evaluate, kind=kind), partial(_lower, kind=kind)
    return Implementation(_verify, evaluate, lower, required_inputs=2, moves_bytes=True)


def _verify(graph: Graph, operator: Operator) -> None:
    verify_axes(graph, operator)
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if (source.scales, source.zero_points) != (output.scales, output.zero_points):
        raise UnsupportedError(f"{operator.label} changes quantization between input and output")


def _evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...], *, kind: Extremum) -> IntArray:
    extremum = np.max if kind == "largest" else np.min
    values: IntArray = extremum(inputs[0], axis=axes(graph, operator))
    return values.reshape(graph.tensor(operator.outputs[0]).shape)


def _lower(graph: Graph, operator: Operator, context: Lowering, *, kind: Extremum) -> Stage:
    walk, stored = walk_axes(graph, operator, context), context.storage[operator.outputs[0]]
    return reduction_stage(graph, operator, walk, reduce.build_extremum(kind, walk.kept, walk.reduced, stored))


OPERATOR = by_extremum("largest")
