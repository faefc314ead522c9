"""Bring conditions into the compiler's form: bool tensors that int8 comparisons give are int8 tensors of 0 and 1.

LOGICAL_AND and LOGICAL_OR of such are MINIMUM and MAXIMUM, LOGICAL_NOT is a table. What SELECT_V2 repeats is repeated
before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator, Tensor

_COMPARISONS = frozenset({"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"})
_LOGICAL: Mapping[str, str] = {"logical_and": "minimum", "logical_or": "maximum", "logical_not": "lookup"}


def conditions_as_bytes(graph: Graph) -> Graph:
    """Of a model in which bytes are compared; float32 is left to codegen.tflite.tabulate."""
    tensors, operators = list(graph.tensors), []
    renamed: dict[int, int] = {}

    def add(tensor: Tensor) -> int:
        tensors.append(replace(tensor, index=len(tensors)))
        return len(tensors) - 1

    for operator in graph.operators:
        inputs = tuple(renamed.get(i, i) for i in operator.inputs)
        output = tensors[operator.outputs[0]] if len(operator.outputs) == 1 else None
        is_condition = output is not None and output.dtype == "bool" and min(inputs, default=-1) >= 0
        if is_condition and _is_of_bytes(operator, [tensors[i] for i in inputs]):
            inputs = tuple(i if tensors[i].dtype == "int8" else _as_bytes(tensors, i) for i in inputs)
            assert output is not None
            renamed[output.index] = add(_bytes_for(output))
            if operator.stem == "logical_not":
                table = np.array([0 if value else 1 for value in range(-128, 128)], np.int8)
                inputs = (*inputs, add(Tensor(0, f"{output.name}/not", (256,), "int8", (1.0,), (0,), data=table)))
            operator = replace(operator, stem=_LOGICAL.get(operator.stem, operator.stem))
        outputs = tuple(renamed.get(i, i) for i in operator.outputs)
        operators.append(replace(operator, inputs=inputs, outputs=outputs))
    outputs = tuple(renamed.get(i, i) for i in graph.outputs)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=outputs)


def _is_of_bytes(operator: Operator, operands: list[Tensor]) -> bool:
    if operator.stem in _COMPARISONS:
        return all(tensor.dtype == "int8" for tensor in operands)
    is_condition = all(
        tensor.dtype == "int8" or (tensor.dtype == "bool" and tensor.data is not None) for tensor in operands
    )
    if operator.stem in _LOGICAL:
        return is_condition
    implementation = ops.IMPLEMENTATIONS.get(operator.stem)
    return implementation is not None and implementation.move is not None and operands[0].dtype == "int8"


def _bytes_for(tensor: Tensor) -> Tensor:
    data = None if tensor.data is None else tensor.data.astype(np.int8)
    return replace(tensor, name=f"{tensor.name}/bytes", dtype="int8", scales=(1.0,), zero_points=(0,), data=data)


def _as_bytes(tensors: list[Tensor], index: int) -> int:
    """Make bytes of a constant condition; a constant that says where to move stays what it is."""
    if tensors[index].dtype != "bool":
        return index
    tensors.append(replace(_bytes_for(tensors[index]), index=len(tensors)))
    return len(tensors) - 1


def repeat_selected(graph: Graph) -> Graph:
    """Operands of SELECT_V2 of another shape than the output's are repeated before it."""
    tensors, operators = list(graph.tensors), []
    for operator in graph.operators:
        inputs = list(operator.inputs)
        if operator.stem == "select_v2" and len(inputs) == 3 and min(inputs) >= 0 and len(operator.outputs) == 1:
            shape = graph.tensor(operator.outputs[0]).shape
            for position, letter in enumerate("abc"):
                source = tensors[inputs[position]]
                if source.dtype == "bool" and source.data is not None:
                    source = replace(_bytes_for(source), index=len(tensors))
                    tensors.append(source)
                    inputs[position] = source.index
                if source.shape == shape or not _repeats(source.shape, shape):
                    continue
                data = None if source.data is None else np.broadcast_to(source.data, shape)
                whole = replace(source, index=len(tensors), name=f"{source.name}/repeated", shape=shape, data=data)
                tensors.append(whole)
                inputs[position] = whole.index
                if data is None:
                    numbers = np.array(shape, np.int32)
                    tensors.append(Tensor(len(tensors), f"{source.name}/shape", numbers.shape, "int32", data=numbers))
                    operands = source.index, len(tensors) - 1
                    operators.append(Operator(operator.index, "broadcast_to", operands, (whole.index,), {}, letter))
        operators.append(replace(operator, inputs=tuple(inputs)))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _repeats(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False
