"""Fold nearest-neighbour upsampling into the depthwise convolution behind it, exactly.

The upsampled image repeats pixels, so taps of the window that meet the same source pixel can be summed beforehand:
a 3x3 window becomes 2x2, and the upsampled image never exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codegen.graph.graph import Graph, Operator
from codegen.kernels import convolution
from codegen.kernels.convolution import UpsampledDepthwise
from codegen.kernels.registry import UPSAMPLED_DEPTHWISE, find
from codegen.operators import depthwise_conv_2d, resize_nearest_neighbor
from codegen.program.program import Lowering, RowRead, Stage


@dataclass(frozen=True, eq=False)
class Folded:
    """`stage` takes the place of the depthwise convolution; `upsampled`, the tensor in between, does not exist."""

    upsampled: int
    stage: Stage


def fold_upsampling(graph: Graph, context: Lowering) -> Mapping[int, Folded]:
    """Fold every pair that can be folded; by output of the depthwise operator."""
    producer = {op.outputs[0]: op for op in graph.operators}
    folded: dict[int, Folded] = {}
    for operator in graph.operators:
        if operator.stem != "depthwise_conv_2d":
            continue
        resize = producer.get(operator.inputs[0])
        if resize is not None and resize.stem == "resize_nearest_neighbor" and _only_reader(graph, resize):
            stage = _fold(graph, resize, operator, context)
            if stage is not None:
                folded[operator.outputs[0]] = Folded(resize.outputs[0], stage)
    return folded


def _only_reader(graph: Graph, resize: Operator) -> bool:
    readers = [op for op in graph.operators if resize.outputs[0] in op.inputs]
    return len(readers) == 1 and resize.outputs[0] not in graph.outputs


def _fold(graph: Graph, resize: Operator, operator: Operator, context: Lowering) -> Stage | None:
    source, image = graph.tensor(resize.inputs[0]).shape, graph.tensor(resize.outputs[0]).shape
    factor = image[1] // source[1]
    rows, columns = resize_nearest_neighbor.source_maps(graph, resize)
    repeats = np.array_equal(rows, np.arange(image[1]) // max(factor, 1))
    doubled = image[2] == 2 * source[2] and np.array_equal(columns, np.arange(image[2]) // 2)
    conv = convolution.convolution_of(graph, operator, depthwise_conv_2d.taps_of(graph, operator), context)
    if factor < 2 or image[1] % source[1] or not repeats or not doubled:
        return None
    layer = UpsampledDepthwise(conv, factor)
    kernel = find(UPSAMPLED_DEPTHWISE, layer, context.target)
    if kernel is None:
        return None
    stage = convolution.convolution_stage(operator, conv, kernel.build(layer, context.target))
    y = np.arange(image[1])
    return replace(
        stage,
        summary=f"{source[1]}x{source[2]} repeated {factor}x2 (operator {resize.index}), then {stage.summary}",
        inputs=(resize.inputs[0],),
        reads=(RowRead(0, tuple(((y - 1) // factor).tolist())), RowRead(0, tuple(((y + 1) // factor).tolist()))),
    )
