"""SLICE: a box of the input. Reference: .../reference/slice.h."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import constant, lower_movement, verify_movement
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 3
VARIABLE_INPUTS = 1
MOVES_BYTES = True
_CONSTANTS = (1, 2)  # input positions


def read_options(table: Any) -> Mapping[str, int]:
    return {}  # constants and the output's shape say it all


def verify(graph: Graph, operator: Operator) -> None:
    verify_movement(graph, operator, move, _CONSTANTS)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    begin, size = constant(graph, operator, 1), constant(graph, operator, 2)
    box = []
    for extent, first, count in zip(inputs[0].shape, begin, size, strict=True):
        end = extent if count == -1 else first + count  # -1 reaches to the end
        if not 0 <= first <= end <= extent:  # which NumPy would cut to fit, and TFLM read beyond
            raise ValueError(f"it takes {count} from {first} of {extent}")
        box.append(builtins.slice(first, end))
    return (inputs[0][tuple(box)],)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return move(graph, operator, inputs)


def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
    return lower_movement(graph, operator, context, move)
