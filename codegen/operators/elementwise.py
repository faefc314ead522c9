"""Share what operators do that map each int8 value by itself: any function of one byte is a table of 256."""

from __future__ import annotations

from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import lookup
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify_elementwise(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if source.shape != output.shape:
        raise ModelError(f"{operator.label} maps {source.shape} to {output.shape}")


def evaluate_lookup(table: IntArray, values: IntArray) -> IntArray:
    return table[values + 128]


def lower_lookup(graph: Graph, operator: Operator, table: IntArray, context: Lowering, argument: int = 0) -> Stage:
    """`table` holds the output for values -128, -127, ..., 127 of the operator's input number `argument`."""
    source, output = graph.tensor(operator.inputs[argument]), graph.tensor(operator.outputs[0])
    before, after = context.storage[source.index], context.storage[output.index]
    rows = rows_of(source.shape, before)
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))}, scale {source.scale:g} zero point {source.zero_point} -> "
        f"scale {output.scale:g} zero point {output.zero_point}",
        (source.index,),
        operator.outputs[0],
        (RowRead(0, tuple(range(rows.count))),),
        *lookup.build(table, rows.size_bytes, before, after),
    )
