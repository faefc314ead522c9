"""CONV_2D, int8. Reference: tensorflow/lite/kernels/internal/reference/integer_ops/conv.h (ConvPerChannel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import exact_product
from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels import convolution
from codegen.kernels.registry import CONV_2D, build
from codegen.kernels.window import read_window_options
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, Stage


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.Conv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return read_window_options(options)


def verify(graph: Graph, operator: Operator) -> None:
    convolution.verify_convolution(graph, operator, channel_axis=0)
    convolution.convolution_window(graph, operator)
    in_channels = graph.tensor(operator.inputs[0]).shape[-1]
    out_channels, _, _, depth = graph.tensor(operator.inputs[1]).shape
    groups, rest = divmod(in_channels, depth)
    if rest or out_channels % groups:
        raise ModelError(f"{operator.label} has weights of depth {depth} for {in_channels} -> {out_channels} channels")


def _weights(graph: Graph, operator: Operator) -> IntArray:
    """(out_channels, kernel_height, kernel_width, in_channels); of groups 0 for the channels of the others."""
    data, in_channels = graph.tensor(operator.inputs[1]).data, graph.tensor(operator.inputs[0]).shape[-1]
    assert data is not None  # verified
    out_channels, height, width, depth = data.shape
    if depth == in_channels:
        return data.astype(np.int64)
    weights = np.zeros((out_channels, height, width, in_channels), np.int64)
    per_group = out_channels // (in_channels // depth)
    for channel in range(out_channels):
        first = channel // per_group * depth
        weights[channel, :, :, first : first + depth] = data[channel]
    return weights


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    window, scaling = convolution.convolution_window(graph, operator), convolution.requantization(graph, operator)
    weights, image = _weights(graph, operator), inputs[0][0]
    accumulator = np.zeros((window.out_height, window.out_width, weights.shape[0]), np.int64)
    for ky in range(window.kernel_height):
        for kx in range(window.kernel_width):
            taken = window.gather(image, ky, kx, scaling.input_zero_point) - scaling.input_zero_point
            accumulator += exact_product(taken, weights[:, ky, kx].T)
    return scaling.apply(accumulator)[None]


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    weights = _weights(graph, operator)
    conv = convolution.convolution_of(graph, operator, weights.reshape(weights.shape[0], -1).T, context)
    return convolution.convolution_stage(operator, conv, build(CONV_2D, conv, context.target))


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2)
