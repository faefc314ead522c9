"""Graph -> Program: every operator becomes a stage of integer constants and tables."""

from __future__ import annotations

from codegen import ops
from codegen.ir import Graph
from codegen.program import Program, Stage, rows_of


def lower_graph(graph: Graph) -> Program:
    """Lower a verified graph. Raises UnsupportedError where a bound cannot be proven."""
    stages: list[Stage] = [ops.IMPLEMENTATIONS[op.stem].lower(graph, op) for op in graph.operators]
    touched = sorted({i for stage in stages for i in (*stage.inputs, stage.output)} | {graph.input.index})
    return Program(
        tuple(stages),
        graph.input.index,
        graph.output.index,
        {i: rows_of(graph.tensor(i).shape) for i in touched},
        {i: graph.tensor(i).name for i in touched},
    )
