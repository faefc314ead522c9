"""Turn what lies between bytes in other types into tables: float32 and bool, where each value depends on one byte.

A converter leaves an activation in float32 that its quantizer does not know (DEQUANTIZE, ELU, QUANTIZE), ends a model
in one (DEQUANTIZE, LOGISTIC), or begins it with a CAST. However many operators that are, it is a function of one byte:
a LOOKUP between two int8 tensors, or the conversion to what the file gives. Operators that only move values are
exchanged with the function: bytes are moved, and then looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import operators as ops
from codegen.canonicalize.equivalent import drop_unused
from codegen.canonicalize.float_kernels import KERNELS, LIBRARY, is_near_half, takes
from codegen.graph.graph import Graph, Operator, Tensor

Values = npt.NDArray[Any]

_FOREIGN = frozenset({"float32", "bool", "int32", "uint8"})
_EVERY_BYTE = np.arange(-128, 128).astype(np.int8)
_ALL = np.ones(256, np.bool_)
_OF_BYTES = frozenset({"cast", "dequantize"})  # the others' kernels of int8 are other ones
_TO_BYTES = frozenset({"cast", "quantize"})
_FILLS = frozenset({"pad", "padv2", "space_to_batch_nd"})  # with 0, which is another byte


@dataclass(frozen=True, eq=False)
class _Column:
    """A tensor as a function of one int8 tensor of its shape: `values` for -128 .. 127. A constant's source is -1.

    Where `exact`, the values have the bits that any processor computes.
    """

    source: int
    values: Values
    exact: npt.NDArray[np.bool_]


@dataclass
class _Tables:
    """What has been found so far, operator by operator."""

    graph: Graph
    tensors: list[Tensor]
    operators: list[Operator] = field(default_factory=list)
    columns: dict[int, _Column] = field(default_factory=dict)
    entries: dict[int, int] = field(default_factory=dict)  # uint8 inputs: the int8 tensor that stands for each

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(replace(tensor, index=len(self.tensors)))
        return len(self.tensors) - 1


def tabulate(graph: Graph) -> Graph:
    """Put a table for every island of which each value depends on one byte; others stay."""
    tables = _Tables(graph, list(graph.tensors))
    for operator in graph.operators:
        tables.operators.append(operator)
        outputs = [tables.tensors[i] for i in operator.outputs]
        if (
            not outputs
            or min(operator.inputs, default=-1) < 0
            or any(t.data is not None or not t.shape for t in outputs)
        ):
            continue
        if all(output.dtype in _FOREIGN for output in outputs):
            if (
                not _move(tables, operator)
                and len(outputs) == 1
                and (column := _computed(tables, operator)) is not None
            ):
                tables.columns[outputs[0].index] = column
        elif operator.stem in _TO_BYTES and outputs[0].dtype == "int8" and len(outputs) == 1:
            _look_up(tables, operator)
    return _between_borders(tables)


def _computed(tables: _Tables, operator: Operator) -> _Column | None:
    """Compute what the operator makes of columns of one source, and of constants that are the same everywhere."""
    if not takes(operator.stem, len(operator.inputs)):
        return None
    kernel, output = KERNELS[operator.stem], tables.tensors[operator.outputs[0]]
    operands = [_operand(tables, operator, index, output) for index in operator.inputs]
    known = [operand for operand in operands if operand is not None]
    sources = {operand.source for operand in known if operand.source >= 0}
    if len(known) < len(operands) or len(sources) != 1:
        return None
    tensors = [tables.tensors[i] for i in (*operator.inputs, output.index)]
    with np.errstate(all="ignore"):
        values = kernel(operator, tensors, [operand.values for operand in known])
    if values is None or values.dtype != output.dtype:
        return None
    exact = np.logical_and.reduce([operand.exact for operand in known if operand.source >= 0])
    if operator.stem in LIBRARY:
        exact = exact & (values == known[0].values)
    return _Column(sources.pop(), np.broadcast_to(values, 256), exact)


def _operand(tables: _Tables, operator: Operator, index: int, output: Tensor) -> _Column | None:
    tensor = tables.tensors[index]
    if tensor.data is not None:
        is_one = tensor.data.size > 0 and bool((tensor.data == tensor.data.reshape(-1)[0]).all())
        is_smaller = tensor.shape == output.shape or tensor.data.size == 1
        return (
            _Column(-1, tensor.data.reshape(-1)[:1], _ALL) if is_one and is_smaller and tensor.dtype != "int8" else None
        )
    if tensor.shape != output.shape:
        return None
    if index in tables.columns:
        return tables.columns[index]
    return _bytes_of(tables, tensor) if operator.stem in _OF_BYTES else None


def _bytes_of(tables: _Tables, tensor: Tensor) -> _Column | None:
    """Find the column of a tensor of bytes: an int8 one is its own, an int8 one stands for a uint8 input."""
    if tensor.dtype == "int8":
        return _Column(tensor.index, _EVERY_BYTE, _ALL)
    if tensor.dtype != "uint8" or tensor.index not in tables.graph.inputs:
        return None
    if tensor.index not in tables.entries:
        stated = replace(tensor, scales=tensor.scales or (1.0,), zero_points=tensor.zero_points or (0,))
        tables.tensors[tensor.index] = stated
        shifted = replace(stated, name=f"{tensor.name}/int8", dtype="int8", zero_points=(stated.zero_point - 128,))
        tables.entries[tensor.index] = tables.add(shifted)
    return _Column(tables.entries[tensor.index], np.arange(256).astype(np.uint8), _ALL)


def _move(tables: _Tables, operator: Operator) -> bool:
    """Move bytes in place of what they become, where that is the same function of all; says whether it is so."""
    implementation = ops.IMPLEMENTATIONS.get(operator.stem)
    variable = [i for i in operator.inputs if tables.tensors[i].data is None]
    columns = [tables.columns[i] for i in variable if i in tables.columns]
    if implementation is None or implementation.move is None or operator.stem in _FILLS:
        return False
    is_joined = operator.stem in ("concatenation", "pack") and len(variable) < len(operator.inputs)  # with numbers
    if not columns or len(columns) < len(variable) or is_joined or not _are_alike(tables, columns):
        return False
    source, made = tables.tensors[columns[0].source], []
    for output in (tables.tensors[i] for i in operator.outputs):
        made.append(tables.add(replace(source, name=f"{output.name}/bytes", shape=output.shape)))
        tables.columns[output.index] = replace(columns[0], source=made[-1])
    inputs = tuple(tables.columns[i].source if i in variable else i for i in operator.inputs)
    tables.operators.append(replace(operator, inputs=inputs, outputs=tuple(made)))
    return True


def _are_alike(tables: _Tables, columns: list[_Column]) -> bool:
    """Whether all are the same function of bytes of one quantization."""
    quantizations = {(t.scales, t.zero_points) for t in (tables.tensors[column.source] for column in columns)}
    return len(quantizations) == 1 and all(np.array_equal(columns[0].values, column.values) for column in columns[1:])


def _look_up(tables: _Tables, operator: Operator) -> None:
    """In place of the operator that makes int8 of a column, a LOOKUP in what it would give."""
    output = tables.tensors[operator.outputs[0]]
    if not output.scales and operator.stem == "cast":
        output = tables.tensors[output.index] = replace(output, scales=(1.0,), zero_points=(0,))
    column = _computed(tables, operator)
    if column is None or _is_open(tables, operator, column, output):
        return
    data = column.values.astype(np.int8)
    table = tables.add(Tensor(0, f"{output.name}/table", data.shape, "int8", (1.0,), (0,), data=data))
    tables.operators[-1] = replace(operator, stem="lookup", inputs=(column.source, table), options={})


def _is_open(tables: _Tables, operator: Operator, column: _Column, output: Tensor) -> bool:
    """Whether the last bits of values that are not exact could change what becomes of them."""
    if column.exact.all():
        return False
    values = tables.columns[operator.inputs[0]].values[~column.exact]
    return operator.stem != "quantize" or is_near_half(values, output.scale)


def _between_borders(tables: _Tables) -> Graph:
    """Take the graph between int8 inputs and outputs, and what the file gives as a function of them."""
    outputs, conversions = list(tables.graph.outputs), {}
    for position, index in enumerate(outputs):
        column = tables.columns.get(index)
        if column is not None and column.exact.all() and np.isfinite(column.values).all():
            outputs[position], conversions[index] = column.source, column.values
    graph = drop_unused(
        replace(
            tables.graph,
            tensors=tuple(tables.tensors),
            operators=tuple(tables.operators),
            outputs=tuple(outputs),
            conversions={**tables.graph.conversions, **conversions},
        )
    )
    read = {index for operator in graph.operators for index in operator.inputs}
    stand_ins = {index: entry for index, entry in tables.entries.items() if index not in read and entry in read}
    return replace(graph, inputs=tuple(stand_ins.get(index, index) for index in graph.inputs))
