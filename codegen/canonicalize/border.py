"""Convert inputs and outputs between the file's types and the graph's int8, as TFLM's QUANTIZE and DEQUANTIZE do.

Where a file takes or gives float32 or uint8, the graph begins behind or ends before that (take_off_borders.py).
Formulas: tensorflow/lite/kernels/internal/reference/{quantize,dequantize,requantize}.h of tflite-micro 90b983c.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import Graph, Tensor, split_tensors

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]


def enter(graph: Graph, cases: Bytes) -> npt.NDArray[np.int8]:
    """Return what the file takes, one input behind the other, uint8 (N, bytes) -> int8 (N, graph.input_bytes)."""
    pairs = list(zip(graph.file_inputs, graph.inputs, strict=True))
    parts = split_tensors(cases, [graph.tensor(outer) for outer, _ in pairs])
    inner = [convert(part, graph.tensor(a), graph.tensor(b)) for part, (a, b) in zip(parts, pairs, strict=True)]
    return np.concatenate([value.reshape(len(cases), -1) for value in inner], axis=1)


def leave(graph: Graph, outputs: Bytes) -> Bytes:
    """Return what the graph gives, one output behind the other, uint8 (N, bytes) -> what the file gives."""
    pairs = list(zip(graph.outputs, graph.file_outputs, strict=True))
    parts = split_tensors(outputs, [graph.tensor(inner) for inner, _ in pairs])
    outer = [
        graph.conversions[b][part.astype(np.int64) + 128]
        if b in graph.conversions
        else convert(part, graph.tensor(a), graph.tensor(b))
        for part, (a, b) in zip(parts, pairs, strict=True)
    ]
    return np.concatenate([_bytes(value) for value in outer], axis=1)


def before(graph: Graph, frames: npt.NDArray[np.int8]) -> Bytes:
    """Values that `enter` makes `frames` of, as near as the file's type allows: int8 (N, bytes) -> uint8 (N, bytes)."""
    pairs = list(zip(graph.inputs, graph.file_inputs, strict=True))
    parts = split_tensors(np.ascontiguousarray(frames).view(np.uint8), [graph.tensor(inner) for inner, _ in pairs])
    outer = []
    for part, (a, b) in zip(parts, pairs, strict=True):
        inner_tensor, file_tensor = graph.tensor(a), graph.tensor(b)
        if file_tensor.dtype == inner_tensor.dtype:
            outer.append(part)
            continue
        real = (part.astype(np.float32) - inner_tensor.zero_point) * np.float32(inner_tensor.scale)
        if file_tensor.dtype == "uint8":
            real = np.clip(np.rint(real / file_tensor.scale) + file_tensor.zero_point, 0, 255)
        outer.append(real.astype(file_tensor.dtype))
    return np.concatenate([_bytes(value) for value in outer], axis=1)


def convert(values: Values, source: Tensor, target: Tensor) -> Values:
    """Convert the values of one tensor to another's type."""
    if source.dtype == target.dtype:
        return values
    if is_bytes(source, target):
        return np.ascontiguousarray(values).view(target.dtype)
    if target.dtype in ("int32", "int64", "bool"):  # of CAST; conditions
        return values.astype(target.dtype)
    if source.dtype == "float32":
        return _quantize(values, target)
    if target.dtype == "float32":
        difference = values.astype(np.float64) - source.zero_point
        return (np.float64(np.float32(source.scale)) * difference).astype(np.float32)
    multiplier, shift = quantize_multiplier(float(np.float32(source.scale)) / float(np.float32(target.scale)))
    wide = values.astype(np.int64) - source.zero_point
    scaled = multiply_by_quantized_multiplier(wide, multiplier, shift) + target.zero_point
    bounds = np.iinfo(target.dtype)
    return np.clip(scaled, bounds.min, bounds.max).astype(target.dtype)


def is_bytes(source: Tensor, target: Tensor) -> bool:
    """Whether the graph has the target's values as their bytes, along one more axis: indices, and constants."""
    return source.dtype == "int8" and source.shape == (*target.shape, np.dtype(target.dtype).itemsize)


def _quantize(values: Values, target: Tensor) -> Values:
    """Half away from zero. NaN becomes the zero point; what no int32 holds, which TFLM leaves open, is clamped."""
    with np.errstate(over="ignore"):
        steps = np.nan_to_num(values / np.float32(target.scale), nan=0.0, posinf=512, neginf=-512)
    steps = np.clip(steps, -512, 512).astype(np.float64)
    rounded = np.trunc(steps + np.copysign(0.5, steps)).astype(np.int64) + target.zero_point
    return np.clip(rounded, -128, 127).astype(np.int8)


def _bytes(values: Values) -> Bytes:
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
