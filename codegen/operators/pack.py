"""PACK: inputs of one shape, side by side along a new axis. Reference: micro/kernels/pack.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import lower_movement, verify_movement
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 1
VARIABLE_INPUTS = 1
MOVES_BYTES = True
_CONSTANTS = ()  # input positions


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.PackOptions()
    options.Init(table.Bytes, table.Pos)
    return {"axis": int(options.Axis())}


def verify(graph: Graph, operator: Operator) -> None:
    verify_movement(graph, operator, move, _CONSTANTS)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (np.stack(inputs, int(operator.options["axis"])),)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return move(graph, operator, inputs)


def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
    return lower_movement(graph, operator, context, move)
