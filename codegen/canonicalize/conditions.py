"""Bring conditions into the compiler's form: bool tensors that int8 comparisons give are int8 tensors of 0 and 1.

LOGICAL_AND and LOGICAL_OR of such are MINIMUM and MAXIMUM, LOGICAL_NOT is a table. What SELECT_V2 repeats is repeated
before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codegen import operators as ops
from codegen.canonicalize.equivalent import COMPARISONS, broadcasts, repeated
from codegen.graph.graph import Graph, Operator, Tensor

_LOGICAL: Mapping[str, str] = {"logical_and": "minimum", "logical_or": "maximum", "logical_not": "lookup"}


def conditions_as_bytes(graph: Graph) -> Graph:
    """Of a model in which bytes are compared; float32 is left to codegen.canonicalize.tabulate."""
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
            inputs = tuple(_as_bytes(tensors, i) for i in inputs)
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
    if any(tensor.dtype == "bool" and tensor.data is None for tensor in operands):
        return False  # a condition that no bytes give
    if operator.stem in COMPARISONS:
        return all(tensor.dtype == "int8" for tensor in operands)
    if operator.stem in _LOGICAL:
        return all(tensor.dtype in ("int8", "bool") for tensor in operands)
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
    tensors, operators = list(graph.tensors), list[Operator]()
    for operator in graph.operators:
        inputs = list(operator.inputs)
        if operator.stem == "select_v2" and len(inputs) == 3 and min(inputs) >= 0 and len(operator.outputs) == 1:
            shape = graph.tensor(operator.outputs[0]).shape
            for position, letter in enumerate("abc"):
                source = tensors[inputs[position]]
                if source.dtype == "bool" and source.data is not None:
                    inputs[position] = _as_bytes(tensors, source.index)
                    source = tensors[inputs[position]]
                if source.shape == shape or not broadcasts(source.shape, shape):
                    continue
                if source.data is None:
                    inputs[position] = repeated(tensors, operators, operator.index, source, shape, letter)
                else:
                    data, name = np.broadcast_to(source.data, shape), f"{source.name}/repeated"
                    tensors.append(replace(source, index=len(tensors), name=name, shape=shape, data=data))
                    inputs[position] = len(tensors) - 1
        operators.append(replace(operator, inputs=tuple(inputs)))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))
