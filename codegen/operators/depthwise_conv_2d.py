"""DEPTHWISE_CONV_2D, int8. Reference: .../reference/integer_ops/depthwise_conv.h (DepthwiseConvPerChannel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels import convolution
from codegen.kernels.registry import DEPTHWISE_CONV_2D, build
from codegen.kernels.window import read_window_options
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, Stage


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.DepthwiseConv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return {**read_window_options(options), "depth_multiplier": options.DepthMultiplier()}


def verify(graph: Graph, operator: Operator) -> None:
    convolution.verify_convolution(graph, operator, channel_axis=3)
    in_channels, out_channels = (graph.tensor(i).shape[-1] for i in (operator.inputs[0], operator.outputs[0]))
    if graph.tensor(operator.inputs[1]).shape[0] != 1:
        raise ModelError(
            f"{operator.label} has weights {graph.tensor(operator.inputs[1]).shape}, not (1, h, w, channels)"
        )
    multiplier = operator.options["depth_multiplier"]
    if out_channels != in_channels * int(multiplier):
        raise ModelError(f"{operator.label} maps {in_channels} channels to {out_channels}, not {multiplier} of each")
    convolution.convolution_window(graph, operator)


def _weights(graph: Graph, operator: Operator) -> IntArray:
    """(kernel_height, kernel_width, out_channels)."""
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    weights: IntArray = data.astype(np.int64).reshape(data.shape[1:])
    return weights


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    window, scaling = convolution.convolution_window(graph, operator), convolution.requantization(graph, operator)
    weights, image = _weights(graph, operator), inputs[0][0]
    # Output channel c reads input channel c // depth_multiplier.
    image = np.repeat(image, weights.shape[2] // image.shape[2], axis=2)
    accumulator = np.zeros((window.out_height, window.out_width, weights.shape[2]), np.int64)
    for ky in range(window.kernel_height):
        for kx in range(window.kernel_width):
            taken = window.gather(image, ky, kx, scaling.input_zero_point) - scaling.input_zero_point
            accumulator += taken * weights[ky, kx]
    return scaling.apply(accumulator)[None]


def taps_of(graph: Graph, operator: Operator) -> IntArray:
    """(taps, out_channels)."""
    weights = _weights(graph, operator)
    return weights.reshape(-1, weights.shape[2])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    conv = convolution.convolution_of(graph, operator, taps_of(graph, operator), context)
    return convolution.convolution_stage(operator, conv, build(DEPTHWISE_CONV_2D, conv, context.target))


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2)
