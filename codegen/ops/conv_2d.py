"""CONV_2D, int8. Reference: tensorflow/lite/kernels/internal/reference/integer_ops/conv.h (ConvPerChannel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import UnsupportedError
from codegen.ir import Graph, IntArray, Operator
from codegen.ops import convolution
from codegen.ops.window import Window, make_window, read_window_options
from codegen.program import Kernel, Stage, Table


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.Conv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return read_window_options(options)


def verify(graph: Graph, operator: Operator) -> None:
    convolution.verify_convolution(graph, operator, channel_axis=0)
    in_channels = graph.tensor(operator.inputs[0]).shape[-1]
    if graph.tensor(operator.inputs[1]).shape[3] != in_channels:
        raise UnsupportedError(f"{operator.label} is a grouped convolution", hint="use groups = 1 or depthwise")
    _window(graph, operator)


def _window(graph: Graph, operator: Operator) -> Window:
    _, height, width, _ = graph.tensor(operator.inputs[1]).shape
    return make_window(graph, operator, (height, width))


def _weights(graph: Graph, operator: Operator) -> IntArray:
    """(out_channels, kernel_height, kernel_width, in_channels)."""
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    return data.astype(np.int64)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    window, scaling = _window(graph, operator), convolution.requantization(graph, operator)
    weights, image = _weights(graph, operator), inputs[0][0]
    accumulator = np.zeros((window.out_height, window.out_width, weights.shape[0]), np.int64)
    for ky in range(window.kernel_height):
        for kx in range(window.kernel_width):
            taken = window.gather(image, ky, kx, scaling.input_zero_point) - scaling.input_zero_point
            accumulator += taken @ weights[:, ky, kx].T
    return scaling.apply(accumulator)[None]


def lower(graph: Graph, operator: Operator) -> Stage:
    window, scaling = _window(graph, operator), convolution.requantization(graph, operator)
    weights = _weights(graph, operator)
    out_channels, _, _, in_channels = weights.shape
    taps = weights.reshape(out_channels, -1).T
    kernel = Kernel(
        "conv_2d",
        f"{window.in_height}x{window.in_width}x{in_channels}_to_{out_channels}"
        f"_k{window.kernel_height}x{window.kernel_width}_s{window.stride_height}x{window.stride_width}",
        (*window.constants, ("in_channels", in_channels), ("out_channels", out_channels), *scaling.constants),
        convolution.TABLE_PARAMETERS,
    )
    return Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{in_channels} -> "
        f"{window.out_height}x{window.out_width}x{out_channels}, {window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        kernel,
        (Table("weights", weights.astype(np.int8).reshape(-1), taps.shape[0]), *scaling.tables),
        macs=window.out_height * window.out_width * taps.size,
        overlay_lead_bytes=window.overlay_lead_bytes(in_channels, out_channels),
        accumulator=convolution.accumulator_bound(operator, taps, scaling),
    )
