"""Share what operators do that map each int8 value by itself: any function of one byte is a table of 256."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.elementwise import Elementwise
from codegen.kernels.registry import ELEMENTWISE, build
from codegen.operators.implementation import Implementation, no_options
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify_elementwise(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if source.shape != output.shape:
        raise ModelError(f"{operator.label} maps {source.shape} to {output.shape}")


def by_table(
    table: Callable[[Graph, Operator], IntArray],
    check: Callable[[Graph, Operator], None] | None = None,
    read_options: Callable[[Any], Mapping[str, int | bool | str | float]] = no_options,
) -> Implementation:
    """Make an operator of its `table`: int64 (256,), outputs for inputs -128 .. 127; `check` may refuse it."""

    def verify(graph: Graph, operator: Operator) -> None:
        verify_elementwise(graph, operator)
        if check:
            check(graph, operator)

    def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
        return table(graph, operator)[inputs[0] + 128]

    def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
        return lower_lookup(graph, operator, table(graph, operator), context)

    return Implementation(verify, evaluate, lower, read_options)


def lower_lookup(graph: Graph, operator: Operator, table: IntArray, context: Lowering, argument: int = 0) -> Stage:
    """`table` holds the output for values -128, -127, ..., 127 of the operator's input number `argument`."""
    source, output = graph.tensor(operator.inputs[argument]), graph.tensor(operator.outputs[0])
    before, after = context.storage[source.index], context.storage[output.index]
    rows = rows_of(source.shape, before)
    layer = Elementwise(tuple(table.tolist()), rows.size_bytes, (before,), after)
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))}, scale {source.scale:g} zero point {source.zero_point} -> "
        f"scale {output.scale:g} zero point {output.zero_point}",
        (source.index,),
        operator.outputs[0],
        (RowRead(0, tuple(range(rows.count))),),
        *build(ELEMENTWISE, layer, context.target),
    )
