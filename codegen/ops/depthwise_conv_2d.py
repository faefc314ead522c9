"""DEPTHWISE_CONV_2D, int8. Reference: .../reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError
from codegen.ir import Graph, IntArray, Operator
from codegen.ops import convolution
from codegen.ops.window import Window, make_window, read_window_options
from codegen.program import Kernel, Stage, Table


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.DepthwiseConv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return read_window_options(options)


def verify(graph: Graph, operator: Operator) -> None:
    convolution.verify_convolution(graph, operator, channel_axis=3)
    in_channels, out_channels = (graph.tensor(i).shape[-1] for i in (operator.inputs[0], operator.outputs[0]))
    if out_channels % in_channels:
        raise ModelError(f"{operator.label} maps {in_channels} channels to {out_channels}, not a multiple")
    _window(graph, operator)


def _window(graph: Graph, operator: Operator) -> Window:
    _, height, width, _ = graph.tensor(operator.inputs[1]).shape
    return make_window(graph, operator, (height, width))


def _weights(graph: Graph, operator: Operator) -> IntArray:
    """(kernel_height, kernel_width, out_channels)."""
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    weights: IntArray = data.astype(np.int64).reshape(data.shape[1:])
    return weights


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    window, scaling = _window(graph, operator), convolution.requantization(graph, operator)
    weights, image = _weights(graph, operator), inputs[0][0]
    # Output channel c reads input channel c // depth_multiplier.
    image = np.repeat(image, weights.shape[2] // image.shape[2], axis=2)
    accumulator = np.zeros((window.out_height, window.out_width, weights.shape[2]), np.int64)
    for ky in range(window.kernel_height):
        for kx in range(window.kernel_width):
            taken = window.gather(image, ky, kx, scaling.input_zero_point) - scaling.input_zero_point
            accumulator += taken * weights[ky, kx]
    return scaling.apply(accumulator)[None]


def lower(graph: Graph, operator: Operator) -> Stage:
    window, scaling = _window(graph, operator), convolution.requantization(graph, operator)
    weights = _weights(graph, operator)
    in_channels, out_channels = graph.tensor(operator.inputs[0]).shape[-1], weights.shape[2]
    kernel = Kernel(
        "depthwise_conv_2d",
        f"{window.in_height}x{window.in_width}x{out_channels}"
        f"_k{window.kernel_height}x{window.kernel_width}_s{window.stride_height}x{window.stride_width}",
        (
            *window.constants,
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("depth_multiplier", out_channels // in_channels),
            *scaling.constants,
        ),
        convolution.TABLE_PARAMETERS,
    )
    taps = weights.reshape(-1, out_channels)
    return Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{in_channels} -> "
        f"{window.out_height}x{window.out_width}x{out_channels}, {window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        kernel,
        (Table("weights", weights.astype(np.int8).reshape(-1), out_channels), *scaling.tables),
        macs=window.out_height * window.out_width * taps.size,
        overlay_lead_bytes=window.overlay_lead_bytes(in_channels, out_channels),
        accumulator=convolution.accumulator_bound(operator, taps, scaling),
    )
