"""SVDF, int8 with a state of int8 or int16.

Reference: EvalIntegerSvdfReference in tensorflow/lite/micro/kernels/svdf_common.cc. The variable tensor is a state of
the graph here (codegen.canonicalize.recurrent): the operator gives one vector of outputs and the state's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import INT32_MAX, multiply_by_quantized_multiplier, quantize_multiplier
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import svdf
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage

_BIAS_SCALE_TOLERANCE = 1e-5  # TFLM's


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.SVDFOptions()
    options.Init(table.Bytes, table.Pos)
    return {"rank": options.Rank(), "activation": options.FusedActivationFunction()}


def verify(graph: Graph, operator: Operator) -> None:
    source, features, times, bias, state = (graph.tensor(i) for i in operator.inputs[:5])
    rank = int(operator.options["rank"])
    if len(operator.inputs) != 5 or source.dtype != "int8" or len(source.shape) != 2 or source.shape[0] != 1:
        raise UnsupportedError(f"{operator.label} takes '{source.name}' {source.shape}, not one vector of int8")
    if features.data is None or features.dtype != "int8" or features.shape[1:] != source.shape[1:]:
        raise UnsupportedError(f"{operator.label} has weights '{features.name}', no constant int8 matrix that fits")
    if times.data is None or times.dtype not in ("int8", "int16") or times.shape[:1] != features.shape[:1]:
        raise UnsupportedError(f"{operator.label} has weights '{times.name}', no constant matrix that fits")
    filters, memory = times.shape
    if rank < 1 or filters % rank:
        raise ModelError(f"{operator.label} has rank {rank} and {filters} filters")
    units = filters // rank
    if bias.data is None or bias.dtype != "int32" or bias.shape != (units,):
        raise UnsupportedError(f"{operator.label} has a bias that is not a constant of {units} int32")
    if any(len(tensor.scales) != 1 for tensor in (features, times, bias, state)):
        raise UnsupportedError(f"{operator.label} has weights, bias or state that are not of one scale")
    if abs(bias.scale - state.scale * times.scale) >= _BIAS_SCALE_TOLERANCE:
        raise UnsupportedError(f"{operator.label} has a bias of scale {bias.scale:g}, which TFLM refuses")
    _verify_state(graph, operator, filters * memory, units)
    largest = int(np.abs(features.data.astype(np.int64)).sum(1).max()) * 255
    if largest << max(_scalings(graph, operator)[0][1], 0) > INT32_MAX or _scalings(graph, operator)[1][1] > 0:
        raise UnsupportedError(f"{operator.label}: the state's or output's scale is too small for its operands'")


def _verify_state(graph: Graph, operator: Operator, elements: int, units: int) -> None:
    """Check the shape: a matrix in the file, the same bytes in the graph."""
    times, state, output = (graph.tensor(i) for i in (*operator.inputs[2:5:2], operator.outputs[0]))
    size_bytes = elements * np.dtype(times.dtype).itemsize
    if state.is_variable and (state.dtype != times.dtype or state.shape != (1, elements)):
        raise UnsupportedError(
            f"{operator.label} has a state {state.dtype} {state.shape}, not {times.dtype} {elements}"
        )
    shape = (1, units) if state.is_variable else (1, 1, units + size_bytes)
    if state.size_bytes != size_bytes or output.shape != shape or output.dtype != "int8":
        raise ModelError(f"{operator.label} states output {output.shape}, its operands give {shape}")
    if state.zero_point:
        raise UnsupportedError(f"{operator.label} has a state of zero point {state.zero_point}, not 0")


def _scalings(graph: Graph, operator: Operator) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of features and of the output."""
    source, features, times, _, state = (graph.tensor(i).scale for i in operator.inputs[:5])
    output = graph.tensor(operator.outputs[0]).scale
    return quantize_multiplier(source * features / state), quantize_multiplier(state * times / output)


def _constants(graph: Graph, operator: Operator) -> tuple[IntArray, IntArray, IntArray]:
    """Weights of features and of time, bias."""
    features, times, bias = (graph.tensor(i).data for i in operator.inputs[1:4])
    assert features is not None  # verified
    assert times is not None
    assert bias is not None
    return features.astype(np.int64), times.astype(np.int64), bias.astype(np.int64)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    features, times, bias = _constants(graph, operator)
    dtype = np.dtype(graph.tensor(operator.inputs[2]).dtype).newbyteorder("<")
    feature_scaling, output_scaling = _scalings(graph, operator)
    state = inputs[4].reshape(-1).astype(np.int8).view(dtype).reshape(times.shape).astype(np.int64)
    sums = features @ (inputs[0].reshape(-1) - source.zero_point)
    newest = np.clip(multiply_by_quantized_multiplier(sums, *feature_scaling), *_limits(dtype))
    state = np.concatenate([state[:, 1:], newest[:, None]], axis=1)
    parts = (times * state).sum(1).reshape(len(bias), -1).sum(1) + bias
    parts = parts.astype(np.int32).astype(np.int64)  # TFLM's sums wrap
    scaled = multiply_by_quantized_multiplier(parts, *output_scaling) + output.zero_point
    values = np.clip(scaled, -128, 127)
    return np.concatenate([values, state.astype(dtype).reshape(-1).view(np.int8)]).reshape(output.shape)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    features, times, bias = _constants(graph, operator)
    inputs = operator.inputs[0], operator.inputs[4]
    built = svdf.build(
        features,
        times,
        bias,
        dtype=graph.tensor(operator.inputs[2]).dtype,
        scalings=_scalings(graph, operator),
        zero_points=(source.zero_point, output.zero_point),
        storage=(*(context.storage[index] for index in inputs), context.storage[output.index]),
    )
    return Stage(
        operator.index,
        operator.stem,
        f"{features.shape[1]} values, {len(times)} filters of {times.shape[1]} steps -> {len(bias)}",
        inputs,
        output.index,
        tuple(RowRead(number, (0,)) for number in range(2)),
        *built,
        macs=features.size + times.size,
        part=operator.part,
    )


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=5, state_inputs=(4,))
