"""Run a layer of long short-term memory for one step of a sequence: for each unit four gates, its cell, its output.

A row of its output is a step's: outputs, hidden values, which are the same, and cells. The next step begins with them,
the first one with the states, so that nothing is kept inside.

Source: LstmStep in tensorflow/lite/micro/kernels/lstm_eval.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.sixteen_bits import sigmoid_table
from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True)
class Scaling:
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class Gate:
    """Weights of new values (units, depth) and of hidden ones (units, units), bias; how both sums are scaled."""

    weights: IntArray
    recurrent: IntArray
    bias: IntArray
    scaling: Scaling
    recurrent_scaling: Scaling


@dataclass(frozen=True, kw_only=True)
class Lstm(Kernel):
    depth: int
    units: int
    gates: tuple[tuple[Scaling, Scaling], ...]  # forget, input, cell, output
    forget: Scaling
    input: Scaling
    limit: int  # of cells
    tanh_shift: int
    result: Scaling
    zero_point: int  # of hidden values and outputs

    @property
    def requires(self) -> tuple[str, ...]:
        return "requantize", "sixteen_bits"

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        hidden, cells, before = (0, 0, 4 * self.units) if present[3] else (self.units, 2 * self.units, 0)
        return Accesses(
            (self.depth, hidden, cells, before),
            4 * self.units,
            required=(0, 1, 2),
            tables={
                "weights": 4 * self.units * (self.depth + self.units),
                "starts": 8 * self.units,
                "sigmoid": 256,
            },
        )


def build(
    gates: tuple[Gate, ...],
    *,
    zero_points: tuple[int, int],
    forget: Scaling,
    input: Scaling,
    limit: int,
    tanh_shift: int,
    output: Scaling,
    storage: tuple[Storage, ...],
) -> Built:
    """`zero_points`: of new and of hidden values; `storage`: of new values, hidden values, cells and the result."""
    units, depth = gates[0].weights.shape
    zeros = [zero + stored.bias for zero, stored in zip(zero_points, storage, strict=False)]
    weights = np.stack([np.concatenate([gate.weights, gate.recurrent], axis=1) for gate in gates], axis=1)
    starts = [(gate.bias - zeros[0] * gate.weights.sum(1), -zeros[1] * gate.recurrent.sum(1)) for gate in gates]
    tables = (
        Table("weights", weights.reshape(-1).astype(np.int8), 20),
        Table("starts", np.stack([part for pair in starts for part in pair], axis=1).reshape(-1).astype(np.int32), 8),
        Table("sigmoid", sigmoid_table().astype(np.uint16), 12),
    )
    kernel = Lstm(
        inputs=storage,
        output=storage[-1],
        shape_name=f"{depth}_{units}_units",
        tables=parameters_of(tables),
        depth=depth,
        units=units,
        gates=tuple((gate.scaling, gate.recurrent_scaling) for gate in gates),
        forget=forget,
        input=input,
        limit=limit,
        tanh_shift=tanh_shift,
        result=output,
        zero_point=zero_points[1],
    )
    return Built(kernel, tables)
