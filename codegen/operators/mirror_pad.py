"""MIRROR_PAD: borders that repeat the image, with its edge (symmetric) or without (reflect). Ref.: mirror_pad.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.MirrorPadOptions()
    options.Init(table.Bytes, table.Pos)
    return {"symmetric": int(options.Mode())}


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    amounts = np.reshape(constant(graph, operator, 1), (-1, 2))
    require_size(graph, operator, amounts.sum(axis=1) + inputs[0].shape)
    return (np.pad(inputs[0], amounts, "symmetric" if operator.options["symmetric"] else "reflect"),)


OPERATOR = by_movement(move, required_inputs=2, constants=(1,), read_options=read_options)
