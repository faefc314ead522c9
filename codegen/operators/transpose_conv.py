"""TRANSPOSE_CONV, int8: each input pixel adds its window to the output. Ref.: .../integer_ops/transpose_conv.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import exact_product, quantize_multipliers
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import activation_range, verify_activation
from codegen.kernels.portable import transpose_conv
from codegen.kernels.weighted_layer import Requantization, WeightedLayer, accumulator_bound, with_positive_multipliers
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.TransposeConvOptions()
    options.Init(table.Bytes, table.Pos)
    activation = {code: name for name, code in vars(tflite.ActivationFunctionType).items() if isinstance(code, int)}
    return {
        "padding": "same" if options.Padding() == tflite.Padding.SAME else "valid",
        "stride_height": options.StrideH(),
        "stride_width": options.StrideW(),
        "activation": activation.get(options.FusedActivationFunction(), "unknown").lower(),
    }


def verify(graph: Graph, operator: Operator) -> None:
    size, weights, source = (graph.tensor(i) for i in operator.inputs[:3])
    output = graph.tensor(operator.outputs[0])
    if size.data is None or size.dtype != "int32" or tuple(map(int, np.ravel(size.data))) != output.shape:
        raise UnsupportedError(f"{operator.label} has an output shape that is no constant, or not its output's")
    if weights.data is None or weights.dtype != "int8" or len(weights.shape) != 4 or any(weights.zero_points):
        raise UnsupportedError(f"{operator.label} has weights that are not a constant symmetric 4-D int8 tensor")
    if source.data is not None:
        raise UnsupportedError(f"{operator.label} works on a constant image", hint="fold constants")
    if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[0] != 1 or output.shape[0] != 1:
        raise UnsupportedError(f"{operator.label} maps {source.shape} to {output.shape}, not images")
    if weights.shape[3] != source.shape[3] or weights.shape[0] != output.shape[3]:
        raise ModelError(f"{operator.label} has weights {weights.shape} for {source.shape} to {output.shape}")
    if len(weights.scales) not in (1, weights.shape[0]) or (
        len(weights.scales) > 1 and weights.quantized_dimension != 0
    ):
        raise UnsupportedError(f"{operator.label} has weights that are quantized neither as a whole nor by output")
    strides = int(operator.options["stride_height"]), int(operator.options["stride_width"])
    if min(strides) < 1:
        raise ModelError(f"{operator.label} has a stride below 1")
    given = tuple(
        -(-size // stride) if operator.options["padding"] == "same" else (size - kernel) // stride + 1
        for size, kernel, stride in zip(output.shape[1:3], weights.shape[1:3], strides, strict=True)
    )
    if given != source.shape[1:3]:
        raise ModelError(f"{operator.label} states output {output.shape}, which its input {source.shape} cannot give")
    if len(operator.inputs) > 3 and operator.inputs[3] >= 0:
        bias = graph.tensor(operator.inputs[3])
        if bias.data is None or bias.dtype != "int32" or bias.shape != weights.shape[:1]:
            raise UnsupportedError(f"{operator.label} has a bias that is not a constant of {weights.shape[0]} int32")
    verify_activation(graph, operator)


def padding(graph: Graph, operator: Operator) -> tuple[int, int]:
    """Rows and columns of the output that lie before its first: those of the convolution that it is the inverse of."""
    output, weights = graph.tensor(operator.outputs[0]).shape, graph.tensor(operator.inputs[1]).shape
    if operator.options["padding"] != "same":
        return 0, 0
    strides = int(operator.options["stride_height"]), int(operator.options["stride_width"])
    top, left = (
        max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2
        for size, stride, kernel in zip(output[1:3], strides, weights[1:3], strict=True)
    )
    return top, left


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 (1, height, width, in) at input position 2 -> int64 (1, out_height, out_width, out)."""
    weights, source = graph.tensor(operator.inputs[1]), graph.tensor(operator.inputs[2])
    output, values = graph.tensor(operator.outputs[0]), inputs[2]
    assert weights.data is not None  # verified
    taps, (top, left) = weights.data.astype(np.int64), padding(graph, operator)
    step_y, step_x = int(operator.options["stride_height"]), int(operator.options["stride_width"])
    out_channels, kernel_height, kernel_width, _ = taps.shape
    _, height, width, _ = values.shape
    canvas = np.zeros(((height - 1) * step_y + kernel_height, (width - 1) * step_x + kernel_width, out_channels), int)
    for y in range(kernel_height):
        for x in range(kernel_width):
            part = canvas[y : y + (height - 1) * step_y + 1 : step_y, x : x + (width - 1) * step_x + 1 : step_x]
            part += exact_product(values[0] - source.zero_point, taps[:, y, x].T)
    _, out_height, out_width, _ = output.shape
    sums = np.zeros((out_height, out_width, out_channels), np.int64)
    inside = canvas[top : top + out_height, left : left + out_width]
    sums[: inside.shape[0], : inside.shape[1]] = inside
    return _scaling(graph, operator).apply(sums)[None]


def _scaling(graph: Graph, operator: Operator) -> Requantization:
    weights, source = graph.tensor(operator.inputs[1]), graph.tensor(operator.inputs[2])
    output, bias = graph.tensor(operator.outputs[0]), np.zeros(weights.shape[0], np.int64)
    if len(operator.inputs) > 3 and operator.inputs[3] >= 0:
        data = graph.tensor(operator.inputs[3]).data
        assert data is not None  # verified
        bias = data.astype(np.int64)
    scales = np.broadcast_to(np.array(weights.scales, np.float64), weights.shape[0])
    multiplier, shift = quantize_multipliers(list(source.scale * scales / output.scale))
    low, high = activation_range(operator, output)
    return Requantization(bias, multiplier, shift, source.zero_point, output.zero_point, low, high)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    weights, source = graph.tensor(operator.inputs[1]), graph.tensor(operator.inputs[2])
    output, (top, left) = graph.tensor(operator.outputs[0]), padding(graph, operator)
    assert weights.data is not None  # verified
    out_channels, kernel_height, kernel_width, in_channels = weights.shape
    taps = weights.data.astype(np.int64).reshape(out_channels, -1).T
    storage = context.storage[source.index], context.storage[output.index]
    layer = WeightedLayer(*with_positive_multipliers(_scaling(graph, operator), taps), *storage)
    stride_height, stride_width = int(operator.options["stride_height"]), int(operator.options["stride_width"])
    geometry = transpose_conv.Geometry(
        source.shape[2], in_channels, kernel_height, kernel_width, stride_width, left, output.shape[2]
    )
    reads = []
    for ky in range(kernel_height):
        position = np.arange(output.shape[1]) + top - ky
        meets = (position >= 0) & (position % stride_height == 0) & (position // stride_height < source.shape[1])
        reads.append(RowRead(0, tuple(np.where(meets, position // stride_height, -1).tolist())))
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))} -> {'x'.join(map(str, output.shape[1:]))}, "
        f"{kernel_height}x{kernel_width} window, stride {stride_height}x{stride_width}",
        (source.index,),
        output.index,
        tuple(reads),
        *transpose_conv.build(layer, geometry, context.target),
        macs=source.shape[1] * source.shape[2] * taps.size,
        accumulator=accumulator_bound(layer, operator.label),
    )


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=3, variable_inputs=0)
