"""Share how operators are lowered that take each group of values along the last axis for itself."""

from __future__ import annotations

from collections.abc import Callable

from codegen.graph.graph import Graph, Operator
from codegen.program.kernel import Built, Storage
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def lower_by_group(
    graph: Graph, operator: Operator, context: Lowering, build: Callable[[int, int, Storage, Storage], Built]
) -> Stage:
    """Lower to one stage, whose kernel `build` makes of: groups in a row, values of each, storage before and after."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    before, after = context.storage[source.index], context.storage[output.index]
    rows, depth = rows_of(output.shape, after), output.shape[-1]
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, output.shape[1:]))}, over {depth} values each",
        (source.index,),
        output.index,
        (RowRead(0, tuple(range(rows.count))),),
        *build(rows.size_bytes // depth, depth, before, after),
    )
