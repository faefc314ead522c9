"""SPLIT_V: parts of stated sizes along an axis, one output each. Reference: micro/kernels/split_v.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import constant, lower_movement, split_at, verify_movement
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 3
VARIABLE_INPUTS = 1
MOVES_BYTES = True
SEVERAL_OUTPUTS = True
_CONSTANTS = (1, 2)  # input positions


def read_options(table: Any) -> Mapping[str, int]:
    return {}  # constants and the output's shape say it all


def verify(graph: Graph, operator: Operator) -> None:
    verify_movement(graph, operator, move, _CONSTANTS)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    axis = constant(graph, operator, 2)[0] % inputs[0].ndim
    return split_at(inputs[0], [graph.tensor(output).shape[axis] for output in operator.outputs], axis)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return move(graph, operator, inputs)


def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
    return lower_movement(graph, operator, context, move)
