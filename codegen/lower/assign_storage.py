"""Decide for the whole graph how each activation's bytes stand for its values."""

from __future__ import annotations

from collections.abc import Mapping

from codegen import operators as ops
from codegen.graph.graph import Graph
from codegen.program.kernel import Storage


def assign_storage(graph: Graph, signed: frozenset[int] = frozenset()) -> Mapping[int, Storage]:
    """Store tensors of zero point -128 as uint8, except frames, states, those that have to be `signed`, and what moving
    bytes joins with these."""
    states, tensors = state_tensors(graph), stored_tensors(graph)
    group = {tensor: tensor for tensor in tensors}
    for operator in graph.operators:
        if not ops.IMPLEMENTATIONS[operator.stem].moves_bytes:
            continue
        for moved in (*operator.inputs, *operator.outputs[1:]):
            if moved in group:
                old, new = group[moved], group[operator.outputs[0]]
                group = {tensor: new if root == old else root for tensor, root in group.items()}
    framed = {group[tensor] for tensor in (*graph.inputs, *graph.outputs, *states, *signed)}
    plain = framed | {group[tensor] for tensor in tensors if graph.tensor(tensor).zero_point != -128}
    return {tensor: Storage(0 if group[tensor] in plain else 128) for tensor in tensors}


def stored_tensors(graph: Graph) -> tuple[int, ...]:
    """List every activation: inputs, states and their sources, what operators make."""
    made = (tensor for op in graph.operators for tensor in op.outputs)
    return tuple(dict.fromkeys((*graph.inputs, *state_tensors(graph), *made)))


def state_tensors(graph: Graph) -> tuple[int, ...]:
    """List states and what they are set to."""
    return tuple(index for state in graph.states for index in (state.tensor, state.source))
