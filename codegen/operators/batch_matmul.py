"""BATCH_MATMUL, int8, of two activations. Reference: .../reference/batch_matmul.h and TFLM's batch_matmul.cc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import (
    INT32_MAX,
    exact_product,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
)
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.portable import matrix_product
from codegen.kernels.portable.matrix_product import Strides
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage, row_axes, rows_of

MAX_RANK = 5  # as TFLM


def read_options(table: Any) -> Mapping[str, int | bool]:
    options = tflite.BatchMatMulOptions()
    if table is not None:
        options.Init(table.Bytes, table.Pos)
    return {"adj_x": table is not None and options.AdjX(), "adj_y": table is not None and options.AdjY()}


@dataclass(frozen=True)
class _Sizes:
    """Matrices (m, k) x (k, n), with `batch` in front of the output's."""

    batch: tuple[int, ...]
    m: int
    k: int
    n: int


def _tensors(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    first, second = operator.inputs[:2]
    return graph.tensor(first), graph.tensor(second), graph.tensor(operator.outputs[0])


def _turned(shape: tuple[int, ...], *, turned: bool) -> tuple[int, int]:
    return (shape[-1], shape[-2]) if turned else (shape[-2], shape[-1])


def _sizes(graph: Graph, operator: Operator) -> _Sizes:
    first, second, _ = _tensors(graph, operator)
    m, k = _turned(first.shape, turned=bool(operator.options["adj_x"]))
    other, n = _turned(second.shape, turned=bool(operator.options["adj_y"]))
    if k != other:
        raise ModelError(f"{operator.label} multiplies matrices of {m}x{k} and {other}x{n}")
    return _Sizes(tuple(np.broadcast_shapes(first.shape[:-2], second.shape[:-2])), m, k, n)


def verify(graph: Graph, operator: Operator) -> None:
    tensors = _tensors(graph, operator)
    for tensor in tensors:
        if tensor.dtype != "int8" or len(tensor.scales) != 1 or not 2 <= len(tensor.shape) <= MAX_RANK:
            raise UnsupportedError(
                f"{operator.label} has '{tensor.name}', not int8 of one scale and 2 to {MAX_RANK} dimensions"
            )
    sizes = _sizes(graph, operator)
    if tensors[2].shape != (*sizes.batch, sizes.m, sizes.n):
        raise ModelError(f"{operator.label} states {tensors[2].shape}, its operands give {sizes.batch} of "
                         f"{sizes.m}x{sizes.n}")  # fmt: skip
    if _largest_sum(graph, operator) << max(_multiplier(graph, operator)[1], 0) > INT32_MAX:
        raise UnsupportedError(
            f"{operator.label} has sums of {sizes.k} products that do not fit its 32 bits when scaled"
        )
    if len(sizes.batch) > 2 and _matrices(graph, operator) is None:
        raise UnsupportedError(f"{operator.label} repeats some of the matrices of {sizes.batch}")


def _multiplier(graph: Graph, operator: Operator) -> tuple[int, int]:
    first, second, output = _tensors(graph, operator)
    return quantize_multiplier(first.scale * second.scale / output.scale)


def _largest_sum(graph: Graph, operator: Operator) -> int:
    """How far from 0 a sum can be, at any point of it."""
    first, second, _ = _tensors(graph, operator)
    most = [max(127 - tensor.zero_point, 128 + tensor.zero_point) for tensor in (first, second)]
    return _sizes(graph, operator).k * prod(most)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    first, second, output = _tensors(graph, operator)
    left, right = inputs[0] - first.zero_point, inputs[1] - second.zero_point
    left = np.swapaxes(left, -1, -2) if operator.options["adj_x"] else left
    right = np.swapaxes(right, -1, -2) if operator.options["adj_y"] else right
    scaled = multiply_by_quantized_multiplier(exact_product(left, right), *_multiplier(graph, operator))
    return np.clip(scaled + output.zero_point, -128, 127)


def _matrices(graph: Graph, operator: Operator) -> tuple[IntArray, IntArray] | None:
    """Where the matrices of either operand begin, for each of the output's rows; None where steps are not the same."""
    first, second, _ = _tensors(graph, operator)
    sizes, found = _sizes(graph, operator), []
    rows = prod(sizes.batch[:2])
    for tensor in (first, second):
        starts = np.arange(prod(tensor.shape[:-2])).reshape(tensor.shape[:-2]) * prod(tensor.shape[-2:])
        by_row = np.broadcast_to(starts, sizes.batch).reshape(rows, -1)
        step = by_row[:, 1:] - by_row[:, :-1]
        if step.size and (step != step.flat[0]).any():
            return None
        found.append(by_row)
    return found[0], found[1]


def _strides(columns: int, *, turned: bool) -> tuple[int, int]:
    """Bytes from row to row and from column to column of a matrix, as it is multiplied."""
    return (1, columns) if turned else (columns, 1)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    first, second, output = _tensors(graph, operator)
    sizes, axes = _sizes(graph, operator), row_axes(len(output.shape))
    left_row, left_k = _strides(first.shape[-1], turned=bool(operator.options["adj_x"]))
    right_k, right_column = _strides(second.shape[-1], turned=bool(operator.options["adj_y"]))
    matrices = _matrices(graph, operator)
    assert matrices is not None  # verified
    lefts, rights = matrices
    if axes > len(sizes.batch):  # each output row is one row of a matrix
        lefts = (lefts.reshape(-1, 1) + np.arange(sizes.m) * left_row).reshape(-1, 1)
        rights = np.repeat(rights.reshape(-1, 1), sizes.m, 0)
    pixels = sizes.m if axes <= len(sizes.batch) else 1
    steps = [int(starts[0, 1] - starts[0, 0]) if starts.shape[1] > 1 else 0 for starts in (lefts, rights)]
    strides = Strides(left_row, left_k, right_k, right_column, *steps)
    stored = tuple(context.storage[tensor.index] for tensor in (first, second))
    reads = _read(0, lefts[:, 0], first, context, left_k == 1, pixels * sizes.k * lefts.shape[1])
    extent = lefts.shape[1], pixels, sizes.k, sizes.n
    inputs = (first.index, second.index) if first.index != second.index else (first.index,)
    built = matrix_product.build(
        extent,
        strides,
        (first.zero_point, second.zero_point),
        (stored[0], stored[1]),
        context.storage[output.index],
        _multiplier(graph, operator),
        output.zero_point,
        is_square=len(inputs) == 1,
    )
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, sizes.batch))} of {sizes.m}x{sizes.k} and {sizes.k}x{sizes.n}",
        inputs,
        output.index,
        (reads, RowRead(len(inputs) - 1, tuple(rights[:, 0].tolist()), is_linear=True)),
        *built,
        macs=prod(sizes.batch) * sizes.m * sizes.k * sizes.n,
        part=operator.part,
    )


def _read(number: int, starts: IntArray, tensor: Tensor, context: Lowering, is_plain: bool, row_bytes: int) -> RowRead:
    """By rows where those of the operand are what an output row takes, else by offsets into the whole of it."""
    own = rows_of(tensor.shape, context.storage[tensor.index])
    if is_plain and own.size_bytes == row_bytes:
        return RowRead(number, tuple((starts // row_bytes).tolist()))
    return RowRead(number, tuple(starts.tolist()), is_linear=True)


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2, variable_inputs=2)
