"""SUB, int8, of any two scales. Reference: .../reference/sub.h (SubElementwise, BroadcastQuantSubSlow)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tflite

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.fused_activation import read_activation
from codegen.operators import add
from codegen.program.program import Lowering, Stage

REQUIRED_INPUTS = 2
VARIABLE_INPUTS = 0
MOVES_BYTES = False


def read_options(table: Any) -> Mapping[str, str]:
    options = tflite.SubOptions()
    options.Init(table.Bytes, table.Pos)
    return {"activation": read_activation(options.FusedActivationFunction())}


def verify(graph: Graph, operator: Operator) -> None:
    add.verify_sum(graph, operator)


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    return add.exact_sum(graph, operator, sign=-1).apply(inputs[0], inputs[1])


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    return add.lower_sum(graph, operator, context, add.exact_sum(graph, operator, sign=-1))
