"""Lower a graph to a program: every operator becomes a stage of integer constants and tables."""

from __future__ import annotations

from collections.abc import Mapping

from codegen import operators as ops
from codegen.graph.graph import Graph
from codegen.lower.assign_storage import assign_storage
from codegen.lower.choose_layouts import choose_layouts
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.lower.split_depthwise import split_depthwise
from codegen.program.kernel import Storage
from codegen.program.program import Lowering, Program, Stage, State, rows_of
from codegen.program.target import Target


def lower_graph(graph: Graph, target: Target) -> Program:
    """Lower a verified graph. Raises UnsupportedError where a bound cannot be proven."""
    graph = split_depthwise(graph)
    if target.vector_blocks:
        laid = choose_layouts(graph, target)
        return _program(graph, laid.stages, laid.storage, laid.copied)
    storage = assign_storage(graph)
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
    """Put stages together; `copied` maps each tensor that the graph does not have to the one that it stands for."""
    stages = _needed(graph, stages)
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


def _needed(graph: Graph, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Leave out stages that give what nobody reads: an operator may have more outputs than are used."""
    read = {*graph.outputs, *(state.source for state in graph.states)}
    kept: list[Stage] = []
    for stage in reversed(stages):
        if stage.output in read:
            read |= set(stage.inputs)
            kept.append(stage)
    return tuple(reversed(kept))


def _stages(lowered: Stage | tuple[Stage, ...] | Folded) -> tuple[Stage, ...]:
    if isinstance(lowered, Folded):
        return (lowered.stage,)
    return lowered if isinstance(lowered, tuple) else (lowered,)
