"""Verify and describe CONV_2D and DEPTHWISE_CONV_2D: windows, weights, biases and per-channel scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.requantize import quantize_multipliers
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.fused_activation import activation_range, verify_activation
from codegen.kernels.weighted_layer import Requantization, WeightedLayer, accumulator_bound, with_positive_multipliers
from codegen.kernels.window import Window, make_window
from codegen.program.kernel import Built, Layout
from codegen.program.program import Lowering, Stage


def verify_convolution(graph: Graph, operator: Operator, channel_axis: int) -> None:
    """Verify types and quantization of filter and bias, as PopulateConvolutionQuantizationParams requires."""
    weights = graph.tensor(operator.inputs[1])
    channels = graph.tensor(operator.outputs[0]).shape[-1]
    if weights.data is None or weights.dtype != "int8" or len(weights.shape) != 4:
        raise UnsupportedError(f"{operator.label} has weights that are not a constant 4-D int8 tensor")
    if weights.shape[channel_axis] != channels:
        raise ModelError(f"{operator.label} has weights {weights.shape} for {channels} output channels")
    if len(weights.scales) not in (1, channels) or any(weights.zero_points):
        raise UnsupportedError(f"{operator.label} has weights that are not symmetric, per tensor or per channel")
    if len(weights.scales) > 1 and weights.quantized_dimension != channel_axis:
        raise UnsupportedError(f"{operator.label} quantizes its weights along axis {weights.quantized_dimension}")
    bias = _bias_tensor(graph, operator)
    if bias is not None and (bias.data is None or bias.dtype != "int32" or bias.shape != (channels,)):
        raise UnsupportedError(f"{operator.label} has a bias that is not a constant int32 vector of {channels}")
    verify_activation(graph, operator)


def _bias_tensor(graph: Graph, operator: Operator) -> Tensor | None:
    return graph.tensor(operator.inputs[2]) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None


def requantization(graph: Graph, operator: Operator) -> Requantization:
    source, weights = graph.tensor(operator.inputs[0]), graph.tensor(operator.inputs[1])
    output, bias = graph.tensor(operator.outputs[0]), _bias_tensor(graph, operator)
    channels = output.shape[-1]
    scales = np.broadcast_to(np.array(weights.scales, np.float64), channels)
    multiplier, shift = quantize_multipliers(list(source.scale * scales / output.scale))
    values = np.zeros(channels, np.int64) if bias is None or bias.data is None else bias.data.astype(np.int64)
    low, high = activation_range(operator, output)
    return Requantization(values, multiplier, shift, source.zero_point, output.zero_point, low, high)


def convolution_window(graph: Graph, operator: Operator) -> Window:
    """Read the window off the filters: (out, height, width, in), or (1, height, width, out) when depthwise."""
    _, height, width, _ = graph.tensor(operator.inputs[1]).shape
    return make_window(graph, operator, (height, width))


@dataclass(frozen=True, eq=False)
class Convolution(WeightedLayer):
    """A dense or depthwise convolution, to choose a kernel for. `taps` go by window row, column and input channel."""

    window: Window
    in_channels: int

    @property
    def is_dense(self) -> bool:
        """Every output channel adds up all input channels; of one, a depthwise convolution does so too."""
        return len(self.taps) == self.window.kernel_height * self.window.kernel_width * self.in_channels

    @property
    def is_pointwise(self) -> bool:
        """1x1 with a stride of 1 along the row."""
        return (self.window.kernel_height, self.window.kernel_width, self.window.stride_width) == (1, 1, 1)

    @property
    def is_same_3x3(self) -> bool:
        """3x3, stride 1, padded to the same size, as many output channels as input channels."""
        w = self.window
        kernel = w.kernel_height, w.kernel_width, w.dilation_height, w.dilation_width
        geometry = w.stride_height, w.stride_width, w.pad_top, w.pad_left
        same_size = (w.out_height, w.out_width) == (w.in_height, w.in_width)
        same_channels = self.in_channels == self.out_channels
        return kernel == (3, 3, 1, 1) and geometry == (1, 1, 1, 1) and same_size and same_channels

    @property
    def layout(self) -> Layout:
        return "padded" if self.output.layout == "padded" else self.input.layout

    @property
    def width_name(self) -> str:
        return f"{self.window.in_width}x{self.in_channels}_to_{self.out_channels}"


@dataclass(frozen=True, eq=False)
class UpsampledDepthwise:
    """A depthwise 3x3 convolution of an image of which every row stands for `factor` rows, every column for two.

    `convolution` is that of the upsampled image. Taps that meet the same source pixel are summed beforehand.
    """

    convolution: Convolution
    factor: int

    @property
    def layout(self) -> Layout:
        return self.convolution.layout

    @property
    def source_width(self) -> int:
        return self.convolution.window.in_width // 2

    @property
    def is_same_3x3_of_zero(self) -> bool:
        """What the kernels ask for: padding that contributes nothing, and a column between the first and the last."""
        return self.convolution.is_same_3x3 and self.convolution.stored_zero == 0 and self.source_width > 1

    def sums(self) -> IntArray:
        """(phases, channels, 8): four sums of taps for the upper source row, four for the lower.

        Phases are output row % factor. The four are of the left tap, middle and right, left and middle, right tap.
        Where all three window rows lie in one source row, the lower ones are 0.
        """
        window, phases = self.convolution.taps.reshape(3, 3, -1), []
        for phase in range(self.factor):
            upper_rows = 1 if phase == 0 else 3 if phase < self.factor - 1 else 2
            split = np.stack([window[:upper_rows].sum(0), window[upper_rows:].sum(0)])
            left, middle, right = split[:, 0], split[:, 1], split[:, 2]
            phases.append(np.stack([left, middle + right, left + middle, right], 1).reshape(8, -1).T)
        return np.stack(phases)


def convolution_of(graph: Graph, operator: Operator, taps: IntArray, context: Lowering) -> Convolution:
    source, sink = operator.inputs[0], operator.outputs[0]
    return Convolution(
        *with_positive_multipliers(requantization(graph, operator), taps),
        context.storage[source],
        context.storage[sink],
        convolution_window(graph, operator),
        graph.tensor(source).shape[-1],
    )


def convolution_stage(operator: Operator, convolution: Convolution, built: Built) -> Stage:
    window = convolution.window
    return Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{convolution.in_channels} -> "
        f"{window.out_height}x{window.out_width}x{convolution.out_channels}, {window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        window.reads,
        *built,
        macs=window.out_height * window.out_width * convolution.taps.size,
        accumulator=accumulator_bound(convolution, operator.label),
        part=operator.part,
    )
