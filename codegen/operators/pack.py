"""PACK: inputs of one shape, side by side along a new axis. Reference: micro/kernels/pack.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.PackOptions()
    options.Init(table.Bytes, table.Pos)
    return {"axis": int(options.Axis()), "inputs": int(options.ValuesCount())}


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (np.stack(inputs, int(operator.options["axis"])),)


OPERATOR = by_movement(move, read_options=read_options)
