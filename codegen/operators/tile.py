"""TILE: the input repeated along its axes. Reference: tensorflow/lite/kernels/tile.cc; TFLM has no such kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import constant, lower_movement, require_size, verify_movement
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 1
MOVES_BYTES = True
_CONSTANTS = (1,)  # input positions


def read_options(table: Any) -> Mapping[str, int]:
    return {}  # constants and the output's shape say it all


def verify(graph: Graph, operator: Operator) -> None:
    verify_movement(graph, operator, move, _CONSTANTS)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    repeats = constant(graph, operator, 1)
    require_size(graph, operator, (inputs[0].size, *repeats))
    return (np.tile(inputs[0], repeats),)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return move(graph, operator, inputs)


def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
    return lower_movement(graph, operator, context, move)
