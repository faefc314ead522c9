"""CONSTANT: rows of a table, which canonicalize.equivalent puts where an operator reads constants as activations.

Every stage reads something; it names the model's first input, and nothing of that is needed.
"""

from __future__ import annotations

from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import constant
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify(graph: Graph, operator: Operator) -> None:
    values, output = graph.tensor(operator.inputs[1]), graph.tensor(operator.outputs[0])
    if values.data is None or values.dtype != "int8" or values.shape != output.shape:
        raise ModelError(f"{operator.label} has '{values.name}' in place of its values")


def _values(graph: Graph, operator: Operator) -> IntArray:
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # verified
    return data.astype("int64")


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return _values(graph, operator)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    output, source = graph.tensor(operator.outputs[0]), operator.inputs[0]
    stored = context.storage[output.index]
    rows = rows_of(output.shape, stored)
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, output.shape[1:]))}, from a table",
        (source,),
        output.index,
        (RowRead(0, (-1,) * rows.count),),
        *constant.build(_values(graph, operator), rows.count, context.storage[source], stored),
        part=operator.part,
    )


OPERATOR = Implementation(verify, evaluate, lower, required_inputs=2)
