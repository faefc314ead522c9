"""MAX_POOL_2D, int8. Reference: .../reference/integer_ops/pooling.h (MaxPool)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range, verify_activation
from codegen.kernels.pooling import Pooling
from codegen.kernels.portable import copy
from codegen.kernels.portable.reduce import Axis, Kind, build_running, merged
from codegen.kernels.registry import MAX_POOL_2D, build
from codegen.kernels.window import Window, make_window, read_window_options
from codegen.operators.implementation import Implementation
from codegen.program.kernel import Built
from codegen.program.program import Lowering, Stage, run_over_rows


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.Pool2DOptions()
    options.Init(table.Bytes, table.Pos)
    return read_window_options(options, kernel=(options.FilterHeight(), options.FilterWidth()))


def verify(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if (source.scales, source.zero_points) != (output.scales, output.zero_points):
        raise UnsupportedError(f"{operator.label} changes quantization between input and output")
    if source.shape[-1] != output.shape[-1]:
        raise ModelError(f"{operator.label} changes the number of channels")
    verify_activation(graph, operator)
    window_of(graph, operator)


def window_of(graph: Graph, operator: Operator) -> Window:
    return make_window(graph, operator, (int(operator.options["kernel_height"]), int(operator.options["kernel_width"])))


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    window, image = window_of(graph, operator), inputs[0][0]
    low, high = activation_range(operator, graph.tensor(operator.outputs[0]))
    best = np.full((window.out_height, window.out_width, image.shape[2]), -128, np.int64)
    for ky in range(window.kernel_height):
        for kx in range(window.kernel_width):
            best = np.maximum(best, window.gather(image, ky, kx, -128))
    return np.clip(best, low, high)[None]


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    window = window_of(graph, operator)
    channels = graph.tensor(operator.inputs[0]).shape[-1]
    low, high = activation_range(operator, graph.tensor(operator.outputs[0]))
    stored = context.storage[operator.outputs[0]]
    layer = Pooling(window, channels, low + stored.bias, high + stored.bias, stored, "maximum")
    stage = Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{channels} -> {window.out_height}x{window.out_width}x{channels}, "
        f"{window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        window.reads,
        *build(MAX_POOL_2D, layer, context.target),
    )
    row_bytes = window.out_width * channels
    return stage if layer.is_clamped else over_rows(stage, layer, "largest", copy.build(row_bytes, stored), context)


def over_rows(stage: Stage, layer: Pooling, kind: Kind, finish: Built, context: Lowering) -> Stage:
    """Let a pool run over rows whose windows neither overhang nor overlap; of two rows it would save nothing."""
    window, channels = layer.window, layer.channels
    overlap = window.out_height > 1 and window.kernel_height > window.stride_height
    if context.target.vector_blocks or window.overhangs or overlap or window.kernel_height < 3:
        return stage
    kept = Axis(window.out_width, window.stride_width * channels), Axis(channels, 1)
    add = build_running(kind, merged(kept), merged([Axis(window.kernel_width, channels)]), layer.storage)
    row_bytes = window.out_width * channels * add.kernel.output.value_bytes
    return run_over_rows(stage, add, finish, row_bytes=row_bytes, rows=window.kernel_height)


OPERATOR = Implementation(verify, evaluate, lower, read_options, moves_bytes=True)
