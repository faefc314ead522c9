"""LOOKUP: a table of 256, which codegen.canonicalize.tabulate makes of operators of other types between two bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codegen.errors import ModelError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.elementwise import by_table


def check(graph: Graph, operator: Operator) -> None:
    table = graph.tensor(operator.inputs[1])
    if table.data is None or table.shape != (256,) or table.dtype != "int8":
        raise ModelError(f"{operator.label} has '{table.name}' in place of a table")


def _table(graph: Graph, operator: Operator) -> IntArray:
    data = graph.tensor(operator.inputs[1]).data
    assert data is not None  # checked
    return data.astype(np.int64)


OPERATOR = replace(by_table(_table, check), required_inputs=2)
