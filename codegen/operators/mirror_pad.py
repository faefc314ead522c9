"""MIRROR_PAD: borders that repeat the image, with its edge (symmetric) or without (reflect). Ref.: mirror_pad.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import constant, lower_movement, require_size, verify_movement
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 1
MOVES_BYTES = True
_CONSTANTS = (1,)  # input positions


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.MirrorPadOptions()
    options.Init(table.Bytes, table.Pos)
    return {"symmetric": int(options.Mode())}


def verify(graph: Graph, operator: Operator) -> None:
    verify_movement(graph, operator, move, _CONSTANTS)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    amounts = np.reshape(constant(graph, operator, 1), (-1, 2))
    require_size(graph, operator, amounts.sum(axis=1) + inputs[0].shape)
    return (np.pad(inputs[0], amounts, "symmetric" if operator.options["symmetric"] else "reflect"),)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return move(graph, operator, inputs)


def lower(graph: Graph, operator: Operator, context: Lowering) -> tuple[Stage, ...]:
    return lower_movement(graph, operator, context, move)
