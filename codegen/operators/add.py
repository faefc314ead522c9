"""ADD, int8, of any two scales. Reference: .../reference/integer_ops/add.h (AddElementwise, BroadcastAdd4DSlow)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator, Tensor
from codegen.kernels.fused_activation import activation_range, read_activation, verify_activation
from codegen.kernels.portable import add
from codegen.kernels.portable.add import Operand, ScaledSum, scaled_sum
from codegen.operators.elementwise import lower_lookup
from codegen.program.program import Lowering, RowRead, Stage, rows_of

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 0
MOVES_BYTES = False

MAX_RANK = 4


def read_options(table: Any) -> Mapping[str, str]:
    options = tflite.AddOptions()
    if table is not None:
        options.Init(table.Bytes, table.Pos)
    return {"activation": "none" if table is None else read_activation(options.FusedActivationFunction())}


def _tensors(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor]:
    """First operand, second operand, output."""
    first, second = operator.inputs[:2]
    return graph.tensor(first), graph.tensor(second), graph.tensor(operator.outputs[0])


def verify(graph: Graph, operator: Operator) -> None:
    first, second, output = _tensors(graph, operator)
    for operand in (first, second):
        if operand.dtype != "int8" or len(operand.scales) != 1 or len(operand.shape) > MAX_RANK:
            raise UnsupportedError(f"{operator.label} adds '{operand.name}', not int8 of one scale and four dimensions")
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        shape = ()
    if shape != output.shape:
        raise ModelError(f"{operator.label} adds {first.shape} and {second.shape} to {output.shape}")
    verify_activation(operator)
    if _exact(graph, operator).result[1] > 0:
        raise UnsupportedError(
            f"{operator.label}: the output's scale is too small for its operands'",
            hint="TFLite's own kernel would stop here; calibrate with real images",
        )


def _exact(graph: Graph, operator: Operator) -> ScaledSum:
    first, second, output = _tensors(graph, operator)
    return scaled_sum(
        (first.scale, second.scale, output.scale),
        (first.zero_point, second.zero_point, output.zero_point),
        activation_range(operator, output),
    )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _exact(graph, operator).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    first, second, output = _tensors(graph, operator)
    exact, every = _exact(graph, operator), np.arange(-128, 128)
    # What depends on one byte alone is a table.
    if first.index == second.index:
        return lower_lookup(graph, operator, exact.apply(every, every), context)
    if _is_uniform(second) and first.shape == output.shape:
        return lower_lookup(graph, operator, exact.apply(every, _values(second).reshape(-1)[:1]), context)
    if _is_uniform(first) and second.shape == output.shape:
        return lower_lookup(graph, operator, exact.apply(_values(first).reshape(-1)[:1], every), context, argument=1)
    stored = context.storage[output.index]
    operands = _operand(first, context), _operand(second, context)
    activations = tuple(tensor.index for tensor in (first, second) if tensor.data is None)
    height = rows_of(output.shape, stored).count
    reads = [
        RowRead(number, tuple(range(height)) if rows_of(graph.tensor(index).shape, stored).count > 1 else (0,) * height)
        for number, index in enumerate(activations)
    ]
    sizes = ["x".join(map(str, tensor.shape[1:] or (1,))) for tensor in (first, second)]
    return Stage(
        operator.index,
        operator.stem,
        f"{sizes[0]} + {sizes[1]}, scales {first.scale:g} and {second.scale:g} -> {output.scale:g}",
        activations,
        output.index,
        tuple(reads),
        *add.build(operands, stored, exact, output.scale, context.target),
    )


def _values(tensor: Tensor) -> IntArray:
    assert tensor.data is not None
    return tensor.data.astype(np.int64)


def _is_uniform(tensor: Tensor) -> bool:
    return tensor.data is not None and len(np.unique(tensor.data)) == 1


def _operand(tensor: Tensor, context: Lowering) -> Operand:
    """Aligned to the right, as broadcasting is."""
    _, height, width, channels = (*(1,) * (MAX_RANK - len(tensor.shape)), *tensor.shape)
    constants = None if tensor.data is None else _values(tensor).reshape(height, width, channels)
    storage = context.storage.get(tensor.index)
    return Operand((height, width, channels), storage, tensor.scale, constants)
