"""Make states of variables that operators read and assign, as streaming models keep them from call to call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, Operator, State, Tensor

_VARIABLES = frozenset({"var_handle", "read_variable", "assign_variable", "call_once"})


def resolve_variables(graph: Graph) -> Graph:
    """VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE become states; CALL_ONCE has been read with the file."""
    stems = Counter(operator.stem for operator in graph.operators)
    if not stems.keys() & _VARIABLES:
        return graph
    handles = {op.outputs[0]: str(op.options["shared_name"]) for op in graph.operators if op.stem == "var_handle"}
    read: dict[str, int] = {}
    assigned: dict[str, int] = {}
    renamed: dict[int, int] = {}
    left: list[Operator] = []
    for operator in graph.operators:
        if operator.stem in ("var_handle", "call_once"):
            continue
        if operator.stem == "read_variable":
            name = _variable(handles, operator)
            if name in assigned:
                raise UnsupportedError(f"{operator.label} reads variable '{name}' after it is assigned")
            renamed[operator.outputs[0]] = read.setdefault(name, operator.outputs[0])
        elif operator.stem == "assign_variable":
            name = _variable(handles, operator)
            if name in assigned:
                raise UnsupportedError(f"{operator.label} assigns variable '{name}' a second time")
            assigned[name] = renamed.get(operator.inputs[1], operator.inputs[1])
        else:
            left.append(replace(operator, inputs=tuple(renamed.get(i, i) for i in operator.inputs)))
    states = tuple(
        State(tensor, source, _initial(graph, name, graph.tensor(tensor), graph.tensor(source).zero_point))
        for name, tensor in read.items()
        for source in (_source(graph, assigned, name, tensor, left),)
    )
    return replace(graph, operators=tuple(left), states=(*graph.states, *states))


def without_variables(graph: Graph) -> Graph:
    """Return the graph for those who look for what else it lacks."""
    read = [op.outputs[0] for op in graph.operators if op.stem == "read_variable"]
    operators = tuple(op for op in graph.operators if op.stem not in _VARIABLES)
    return replace(graph, operators=operators, inputs=(*graph.inputs, *dict.fromkeys(read)))


def _variable(handles: Mapping[int, str], operator: Operator) -> str:
    if operator.inputs[0] not in handles:
        raise UnsupportedError(f"{operator.label} works on a variable that no VAR_HANDLE names")
    return handles[operator.inputs[0]]


def _source(graph: Graph, assigned: Mapping[str, int], name: str, tensor: int, left: list[Operator]) -> int:
    if name not in assigned:
        raise UnsupportedError(f"variable '{name}' is read and never assigned", hint="export it as a constant")
    source = assigned[name]
    if graph.tensor(source).shape != graph.tensor(tensor).shape or graph.tensor(source).dtype != "int8":
        raise UnsupportedError(f"variable '{name}' is assigned a tensor of another shape or type")
    if source not in {index for operator in left for index in operator.outputs}:
        raise UnsupportedError(f"variable '{name}' is assigned an input, a constant or another variable as it is")
    return source


def _initial(graph: Graph, name: str, tensor: Tensor, zero_point: int) -> npt.NDArray[np.int8]:
    """Return what CALL_ONCE assigns, else the zero point of what is assigned later, with which TFLM allocates it."""
    data = graph.initial_values.get(name)
    if data is None:
        return np.full(tensor.shape, zero_point, np.int8)
    if data.shape != tensor.shape or data.dtype != np.int8:
        raise UnsupportedError(f"variable '{name}' starts with {data.dtype} {data.shape}, not int8 {tensor.shape}")
    return data.astype(np.int8)
