"""SELECT_V2, int8: bytes of the second or of the third operand. Reference: .../reference/select.h.

A condition is a tensor of int8 0 and 1, and all operands have the output's shape (codegen.canonicalize.equivalent).
"""

from __future__ import annotations

import numpy as np

from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import select
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage, rows_of


def verify(graph: Graph, operator: Operator) -> None:
    tensors = [graph.tensor(i) for i in operator.inputs[:3]]
    output = graph.tensor(operator.outputs[0])
    if any(tensor.dtype not in ("int8", "bool") or output.dtype != "int8" for tensor in tensors):
        raise UnsupportedError(f"{operator.label} selects of {', '.join(tensor.dtype for tensor in tensors)}")
    try:
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shape = ()
    if shape != output.shape:
        raise ModelError(f"{operator.label} takes {[tensor.shape for tensor in tensors]}, and states {output.shape}")
    if any(tensor.shape != shape or tensor.dtype == "bool" for tensor in tensors):
        raise CompilerLimit(f"{operator.label} repeats an operand")


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return np.where(inputs[0] != 0, inputs[1], inputs[2])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    output, inputs = graph.tensor(operator.outputs[0]), tuple(dict.fromkeys(operator.inputs[:3]))
    stored = context.storage[output.index]
    rows = rows_of(output.shape, stored)
    every = tuple(range(rows.count))
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, output.shape[1:]))}",
        inputs,
        output.index,
        tuple(RowRead(inputs.index(i), every) for i in operator.inputs[:3]),
        *select.build(rows.size_bytes, len(inputs), stored),
        part=operator.part,
    )


OPERATOR = Implementation(verify, evaluate, lower, required_inputs=3, variable_inputs=3, moves_bytes=True)
