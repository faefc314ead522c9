"""UNPACK: the slices along an axis, one output each, without that axis. Reference: micro/kernels/unpack.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.UnpackOptions()
    options.Init(table.Bytes, table.Pos)
    return {"axis": int(options.Axis()), "outputs": int(options.Num())}


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return tuple(np.moveaxis(inputs[0], int(operator.options["axis"]), 0))


OPERATOR = by_movement(move, read_options=read_options, several_outputs=True)
