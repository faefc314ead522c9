"""RESHAPE: the same bytes under another shape, whatever quantization is stated, as TFLM has it."""

from __future__ import annotations

from codegen.errors import ModelError
from codegen.graph.graph import Graph, Operator
from codegen.kernels.portable import copy
from codegen.operators.implementation import Implementation
from codegen.operators.movement import FALSE_SHAPES, reshaped
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if source.size_bytes != output.size_bytes:
        raise ModelError(f"{operator.label} maps {source.shape} to {output.shape}", hint=FALSE_SHAPES)


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    stored = context.storage[output.index]
    before, after = rows_of(source.shape, stored), rows_of(output.shape, stored)
    is_linear = before != after
    every_row = tuple(y * (after.size_bytes if is_linear else 1) for y in range(after.count))
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))} -> {'x'.join(map(str, output.shape[1:]))}, same bytes",
        (operator.inputs[0],),
        operator.outputs[0],
        (RowRead(0, every_row, is_linear=is_linear),),
        *copy.build(after.size_bytes, stored),
    )


OPERATOR = Implementation(verify, reshaped, lower, moves_bytes=True, move=reshaped)
