"""Bring operators that keep variables of their own into a form without side effects: SVDF and LSTM.

Their variable tensors become states of the graph, as bytes, which the operator reads, and which are set at the end to
what it gives besides its output.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np

from codegen import operators as ops
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, Operator, State, Tensor


def resolve_own_variables(graph: Graph) -> Graph:
    """Make states of the variables that one operator alone reads and changes. Raises UnsupportedError for others."""
    for operator in graph.operators:
        positions = ops.state_inputs(operator)
        if positions:
            graph = _resolve(_bytes_for_states(graph, operator, positions), operator, positions)
    return graph


def _bytes_for_states(graph: Graph, operator: Operator, positions: tuple[int, ...]) -> Graph:
    tensors, states = list(graph.tensors), []
    readers = Counter(i for op in graph.operators for i in op.inputs)
    written = {i for op in graph.operators for i in op.outputs} | {*graph.inputs, *graph.outputs}
    for position in positions:
        tensor = graph.tensor(operator.inputs[position])
        if not tensor.is_variable or tensor.data is not None or readers[tensor.index] != 1 or tensor.index in written:
            raise UnsupportedError(f"{operator.label} has the state '{tensor.name}', which is no variable of its own")
        if tensor.dtype not in ("int8", "int16") or len(tensor.scales) != 1:
            raise UnsupportedError(f"{operator.label} has the state '{tensor.name}' of {tensor.dtype}")
        initial = np.full(tensor.size_bytes, tensor.zero_point if tensor.dtype == "int8" else 0, np.int8)
        stored = replace(tensor, shape=(1, tensor.size_bytes), dtype="int8", is_variable=False)
        tensors[tensor.index] = stored
        states.append(State(tensor.index, -1, initial.reshape(stored.shape)))
    return replace(graph, tensors=tuple(tensors), states=(*graph.states, *states))


def _resolve(graph: Graph, operator: Operator, positions: tuple[int, ...]) -> Graph:
    """Rewrite the operator to give for each step its output's bytes, then its states'; slices of it follow."""
    tensors, made = list(graph.tensors), []
    output, kept = graph.tensor(operator.outputs[0]), [graph.tensor(operator.inputs[p]) for p in positions]

    def add(tensor: Tensor, name: str, shape: tuple[int, ...]) -> int:
        tensors.append(replace(tensor, index=len(tensors), name=f"{tensor.name}/{name}", shape=shape))
        return len(tensors) - 1

    def constant(*values: int) -> int:
        data = np.array(values, np.int32)
        tensors.append(Tensor(len(tensors), f"{output.name}/numbers", data.shape, "int32", data=data))
        return len(tensors) - 1

    def part_of(whole: int, begin: tuple[int, int], shape: tuple[int, int], tensor: Tensor, part: str) -> int:
        sliced = add(tensor, "values" if tensor is output else "next", (1, *shape))
        inputs = whole, constant(0, *begin), constant(1, *shape)
        made.append(Operator(operator.index, "slice", inputs, (sliced,), {}, part))
        return sliced

    steps, width = prod(output.shape[:-1]), output.shape[-1]
    whole = add(output, "with state", (1, steps, width + sum(tensor.size_bytes for tensor in kept)))
    values = part_of(whole, (0, 0), (steps, width), output, "b")
    made.append(Operator(operator.index, "reshape", (values, constant(*output.shape)), operator.outputs, {}))
    begin, sources = width, {}
    for number, tensor in enumerate(kept):
        sources[tensor.index] = part_of(whole, (steps - 1, begin), (1, tensor.size_bytes), tensor, "cd"[number])
        begin += tensor.size_bytes
    changed = replace(operator, outputs=(whole,), part="a")
    operators = [new for old in graph.operators for new in ((changed, *made) if old is operator else (old,))]
    states = tuple(replace(state, source=sources.get(state.tensor, state.source)) for state in graph.states)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), states=states)
