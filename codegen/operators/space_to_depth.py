"""SPACE_TO_DEPTH: blocks of pixels become channels. Reference: .../reference/space_to_depth.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.SpaceToDepthOptions()
    options.Init(table.Bytes, table.Pos)
    return {"block_size": int(options.BlockSize())}


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    block = int(operator.options["block_size"])
    batch, height, width, depth = inputs[0].shape
    blocks = inputs[0].reshape(batch, height // block, block, width // block, block, depth)
    return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // block, width // block, -1),)


OPERATOR = by_movement(move, read_options=read_options)
