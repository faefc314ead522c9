"""FULLY_CONNECTED, int8, weights per tensor or per channel. Reference: .../integer_ops/fully_connected.h in TFLM.

TFLM rounds twice where TFLite's own reference kernel rounds once; TFLM is what a device runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import exact_product, multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import exact_requantizer
from codegen.kernels.fused_activation import activation_range, verify_activation
from codegen.kernels.portable import requantized_sums, running_products
from codegen.kernels.registry import CONV_2D, NoKernelError, build
from codegen.kernels.weighted_layer import Requantization, accumulator_bound, with_positive_multipliers
from codegen.kernels.window import Window
from codegen.operators.implementation import Implementation
from codegen.operators.movement import FALSE_SHAPES
from codegen.program.kernel import Storage
from codegen.program.program import Lowering, RowRead, Stage, rows_of, run_over_rows


def read_options(table: Any) -> Mapping[str, int | str]:
    options = tflite.FullyConnectedOptions()
    options.Init(table.Bytes, table.Pos)
    activation = {code: name for name, code in vars(tflite.ActivationFunctionType).items() if isinstance(code, int)}
    return {
        "activation": activation.get(options.FusedActivationFunction(), "unknown").lower(),
        "weights_format": options.WeightsFormat(),
    }


def verify(graph: Graph, operator: Operator) -> None:
    source, weights, output = (graph.tensor(i) for i in (*operator.inputs[:2], operator.outputs[0]))
    if weights.data is None or weights.dtype != "int8" or len(weights.shape) != 2 or operator.options["weights_format"]:
        raise UnsupportedError(f"{operator.label} has weights that are not a constant int8 matrix")
    out, depth = weights.shape
    if len(weights.scales) not in (1, out) or (len(weights.scales) > 1 and weights.quantized_dimension != 0):
        raise UnsupportedError(f"{operator.label} has weights that are quantized neither as a whole nor by output")
    if len(weights.scales) > 1 and any(weights.zero_points):
        raise UnsupportedError(f"{operator.label} has weights by output that are not symmetric")
    rows = source.size_bytes // depth
    if source.size_bytes % depth or output.size_bytes != rows * out or output.shape[-1] != out:
        raise ModelError(
            f"{operator.label} maps {source.shape} by {weights.shape} to {output.shape}", hint=FALSE_SHAPES
        )
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        bias = graph.tensor(operator.inputs[2])
        if bias.data is None or bias.dtype != "int32" or bias.data.size != out:
            raise UnsupportedError(f"{operator.label} has a bias that is not a constant of {out} int32")
    verify_activation(graph, operator)


def _bias(graph: Graph, operator: Operator) -> IntArray:
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        data = graph.tensor(operator.inputs[2]).data
        assert data is not None  # verified
        return np.ravel(data).astype(np.int64)
    return np.zeros(graph.tensor(operator.inputs[1]).shape[0], np.int64)


def _taps(graph: Graph, operator: Operator) -> IntArray:
    """(depth, out), without the zero point that old files have."""
    weights = graph.tensor(operator.inputs[1])
    assert weights.data is not None  # verified
    return (weights.data.astype(np.int64) - weights.zero_point).T


def multipliers(graph: Graph, operator: Operator) -> tuple[IntArray, IntArray]:
    """int64 (out,) multipliers and shifts."""
    source, weights = graph.tensor(operator.inputs[0]), graph.tensor(operator.inputs[1])
    output = graph.tensor(operator.outputs[0])
    scales = np.broadcast_to(np.array(weights.scales, np.float64), weights.shape[0])
    pairs = [quantize_multiplier(source.scale * scale / output.scale) for scale in scales]
    return np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 input of N x depth values in any shape -> int64 of the output's shape (N x out)."""
    source, output, taps = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0]), _taps(graph, operator)
    sums = exact_product(inputs[0].reshape(-1, len(taps)) - source.zero_point, taps) + _bias(graph, operator)
    scaled = multiply_by_quantized_multiplier(sums, *multipliers(graph, operator)) + output.zero_point
    outputs: IntArray = np.clip(scaled, *activation_range(operator, output)).reshape(output.shape)
    return outputs


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    """As a 1x1 convolution of one pixel with `depth` channels, for each of the input's vectors."""
    source, output, taps = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0]), _taps(graph, operator)
    depth, out = taps.shape
    before, after = context.storage[source.index], context.storage[output.index]
    given, made = rows_of(source.shape, Storage(0)), rows_of(output.shape, Storage(0))
    pixels = made.size_bytes // out
    scaling = Requantization(
        _bias(graph, operator),
        *multipliers(graph, operator),
        source.zero_point,
        output.zero_point,
        *activation_range(operator, output),
    )
    window = Window(made.count, pixels, 1, 1, 1, 1, 1, 1, 0, 0, made.count, pixels)
    layer = Convolution(*with_positive_multipliers(scaling, taps), before, after, window, depth)
    row_bytes = pixels * depth
    is_linear = given.size_bytes != row_bytes
    if before.layout != "interleaved" and (is_linear or source.shape[-1] != depth):
        raise NoKernelError(f"{operator.label} takes vectors that are not pixels of {source.shape}")
    rows = tuple(y * (row_bytes if is_linear else 1) for y in range(made.count))
    stage = Stage(
        operator.index,
        operator.stem,
        f"{made.count * pixels} x {depth} -> {out}",
        (source.index,),
        output.index,
        (RowRead(0, rows, is_linear=is_linear),),
        *build(CONV_2D, layer, context.target),
        macs=made.count * pixels * taps.size,
        accumulator=accumulator_bound(layer, operator.label),
    )
    if made.size_bytes != out or made.count > 1 or given.count == 1 or context.target.vector_blocks:
        return stage
    exact = exact_requantizer(layer)
    add = running_products.build(layer, exact, given.count, context.target)
    row_bytes = out * add.kernel.output.value_bytes
    return run_over_rows(stage, add, requantized_sums.build(exact), row_bytes=row_bytes, rows=given.count)


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2)
