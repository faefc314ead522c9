"""Lower a graph to a program: every operator becomes a stage of integer constants and tables."""

from __future__ import annotations

from collections.abc import Mapping

from codegen import operators as ops
from codegen.graph.graph import Graph
from codegen.lower.block_rows import block_rows
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.lower.split_depthwise import split_depthwise
from codegen.program.kernel import Storage
from codegen.program.program import Lowering, Program, Stage, State, rows_of
from codegen.program.target import Target


def lower_graph(graph: Graph, target: Target) -> Program:
    """Lower a verified graph. Raises UnsupportedError where a bound cannot be proven."""
    graph = split_depthwise(graph)
    storage = assign_storage(graph)
    if target.vector_blocks:
        blocked = block_rows(graph, storage, target)
        return _program(graph, blocked.stages, blocked.storage, blocked.copied)
    context = Lowering(storage, target)
    folded = fold_upsampling(graph, context)
    absorbed = {fold.upsampled for fold in folded.values()}
    lowered = (
        folded.get(op.outputs[0]) or ops.IMPLEMENTATIONS[op.stem].lower(graph, op, context)
        for op in graph.operators
        if op.outputs[0] not in absorbed
    )
    return _program(graph, tuple(stage for item in lowered for stage in _stages(item)), storage, {})


def _program(
    graph: Graph, stages: tuple[Stage, ...], storage: Mapping[int, Storage], copied: Mapping[int, int]
) -> Program:
    """Lower a graph; `copied` maps each tensor that was added to the one of the graph that it stands for."""
    existing = [*graph.inputs, *(state.tensor for state in graph.states), *(stage.output for stage in stages)]
    tensors = {i: graph.tensor(copied.get(i, i)) for i in existing}
    return Program(
        stages,
        graph.inputs,
        graph.outputs,
        {i: rows_of(tensor.shape, storage[i]) for i, tensor in tensors.items()},
        {i: storage[i] for i in existing},
        {i: tensor.name for i, tensor in tensors.items()},
        tuple(State(state.tensor, state.source, state.initial.tobytes()) for state in graph.states),
    )


def _stages(lowered: Stage | tuple[Stage, ...] | Folded) -> tuple[Stage, ...]:
    if isinstance(lowered, Folded):
        return (lowered.stage,)
    return lowered if isinstance(lowered, tuple) else (lowered,)


def assign_storage(graph: Graph) -> Mapping[int, Storage]:
    """Store tensors of zero point -128 as uint8, except frames and states and what moving bytes joins with them."""
    states = [index for state in graph.states for index in (state.tensor, state.source)]
    made = [tensor for op in graph.operators for tensor in op.outputs]
    tensors = list(dict.fromkeys((*graph.inputs, *states, *made)))
    group = {tensor: tensor for tensor in tensors}
    for operator in graph.operators:
        if not ops.IMPLEMENTATIONS[operator.stem].moves_bytes:
            continue
        for moved in (*operator.inputs, *operator.outputs[1:]):
            if moved in group:
                old, new = group[moved], group[operator.outputs[0]]
                group = {tensor: new if root == old else root for tensor, root in group.items()}
    framed = {group[tensor] for tensor in (*graph.inputs, *graph.outputs, *states)}
    plain = framed | {group[tensor] for tensor in tensors if graph.tensor(tensor).zero_point != -128}
    return {tensor: Storage(0 if group[tensor] in plain else 128) for tensor in tensors}
