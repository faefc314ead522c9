"""What CONV_2D and DEPTHWISE_CONV_2D share: per-channel requantization, bias and accumulator bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier, quantize_multipliers
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.fused_activation import activation_range, verify_activation
from codegen.kernels.window import Window, make_window
from codegen.program.program import AccumulatorBound, Kernel, Lowering, Stage, Storage, Table
from codegen.program.target import Target


@dataclass(frozen=True, eq=False)
class Requantization:
    """Per output channel: bias, multiplier and shift (int64 arrays); zero points and clamp of the output."""

    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int

    def apply(self, accumulator: IntArray) -> IntArray:
        """(..., channels) sums of products, without bias -> int8 values as int64."""
        scaled = multiply_by_quantized_multiplier(accumulator + self.bias, self.multiplier, self.shift)
        return np.clip(scaled + self.output_zero_point, self.low, self.high)


MAX_LEFT_SHIFT = 30  # 1 << 31 does not fit int32


def verify_convolution(graph: Graph, operator: Operator, channel_axis: int) -> None:
    """Types, bias and quantization of filter and bias, as PopulateConvolutionQuantizationParams requires."""
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
    verify_activation(operator)


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


def accumulator_bound(operator: Operator, weights: IntArray, scaling: Requantization) -> AccumulatorBound:
    """Bound every partial sum of every channel; `weights` is (taps, channels).

    A tap contributes w * (q - zero_point) for q in int8, or nothing where the window overhangs; so the sums of the
    negative and of the positive extremes bound all partial sums. Raises UnsupportedError where int32 could overflow,
    before or after the left shift of the requantization.
    """
    reach = np.array([-128, 127]) - scaling.input_zero_point
    extremes = weights[..., None] * reach
    low = np.minimum(extremes.min(-1), 0).sum(0) + np.minimum(scaling.bias, 0)
    high = np.maximum(extremes.max(-1), 0).sum(0) + np.maximum(scaling.bias, 0)
    if int(scaling.shift.max()) > MAX_LEFT_SHIFT:
        raise UnsupportedError(
            f"{operator.label}: the output's scale is too small for its input and weights",
            hint="TFLite's own kernels would overflow here; calibrate with real images",
        )
    shifted = np.maximum(-low, high) << np.maximum(scaling.shift, 0)
    if int(shifted.max()) > INT32_MAX:
        raise UnsupportedError(
            f"{operator.label}: channel {int(shifted.argmax())} can overflow its int32 accumulator",
            hint="TFLite's own kernels would wrap around here; train with smaller weights or biases",
        )
    return AccumulatorBound(int(low.min()), int(high.max()))


def convolution_window(graph: Graph, operator: Operator) -> Window:
    """Filters are (out, height, width, in), or (1, height, width, out) when depthwise."""
    _, height, width, _ = graph.tensor(operator.inputs[1]).shape
    return make_window(graph, operator, (height, width))


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution, to choose a kernel for. `taps` is (taps, out_channels), by window row, column and input."""

    operator: Operator
    window: Window
    scaling: Requantization
    taps: IntArray
    in_channels: int
    input: Storage
    output: Storage
    target: Target

    @property
    def out_channels(self) -> int:
        return int(self.taps.shape[1])

    @property
    def shape_name(self) -> str:
        window = self.window
        name = f"{window.in_width}x{self.in_channels}_to_{self.out_channels}"
        name += f"_k{window.kernel_height}x{window.kernel_width}_s{window.stride_width}"
        name += f"_d{window.dilation_width}" if window.dilation_width > 1 else ""
        return name + ("_same" if window.pad_left else "")


def convolution_of(graph: Graph, operator: Operator, taps: IntArray, context: Lowering) -> Convolution:
    source, sink = operator.inputs[0], operator.outputs[0]
    return Convolution(
        operator,
        convolution_window(graph, operator),
        requantization(graph, operator),
        taps,
        graph.tensor(source).shape[-1],
        context.storage[source],
        context.storage[sink],
        context.target,
    )


def convolution_stage(convolution: Convolution, kernel: Kernel, tables: tuple[Table, ...]) -> Stage:
    window, operator = convolution.window, convolution.operator
    return Stage(
        operator.index,
        operator.stem,
        f"{window.in_height}x{window.in_width}x{convolution.in_channels} -> "
        f"{window.out_height}x{window.out_width}x{convolution.out_channels}, {window.summary}",
        (operator.inputs[0],),
        operator.outputs[0],
        window.reads,
        kernel,
        tables,
        macs=window.out_height * window.out_width * convolution.taps.size,
        accumulator=accumulator_bound(operator, convolution.taps, convolution.scaling),
        part=operator.part,
    )
