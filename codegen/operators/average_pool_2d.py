"""AVERAGE_POOL_2D, int8: the mean of what of each window lies inside. Reference: .../integer_ops/pooling.h."""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range
from codegen.kernels.pooling import Pooling, rounded_mean
from codegen.kernels.portable import average_pool_2d
from codegen.kernels.registry import AVERAGE_POOL_2D, build
from codegen.operators.implementation import Implementation
from codegen.operators.max_pool_2d import over_rows, read_options, verify, window_of
from codegen.program.program import Lowering, Stage


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 (1, height, width, channels) -> int64 (1, out_height, out_width, channels)."""
    window = window_of(graph, operator)
    shape = (1, window.out_height, window.out_width, inputs[0].shape[-1])
    sums, counts = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row in range(window.kernel_height):
        for column in range(window.kernel_width):
            y, x = window.rows(row), window.columns(column)
            inside = ((y >= 0) & (y < window.in_height))[:, None] & ((x >= 0) & (x < window.in_width))
            values = inputs[0][0][np.clip(y, 0, window.in_height - 1)][:, np.clip(x, 0, window.in_width - 1)]
            sums += np.where(inside[None, ..., None], values, 0)
            counts += inside[None, ..., None]
    means = rounded_mean(sums, np.maximum(counts, 1))
    return np.clip(means, *activation_range(operator, graph.tensor(operator.outputs[0])))


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    window = window_of(graph, operator)
    channels = graph.tensor(operator.inputs[0]).shape[-1]
    low, high = activation_range(operator, graph.tensor(operator.outputs[0]))
    stored = context.storage[operator.outputs[0]]
    layer = Pooling(window, channels, low + stored.bias, high + stored.bias, stored, "mean")
    stage = Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{channels} -> {window.out_height}x{window.out_width}x{channels}, "
        f"{window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        window.reads,
        *build(AVERAGE_POOL_2D, layer, context.target),
    )
    return over_rows(stage, layer, "sum", average_pool_2d.build_of_sums(layer), context)


OPERATOR = Implementation(verify, evaluate, lower, read_options, moves_bytes=True)
