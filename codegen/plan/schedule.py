"""Order the rows of all tensors by demand, and derive each row's live range from the order.

The order is demand-driven: to produce an output row, first produce the input rows it needs. That works for any graph
of row-wise operators; a skip connection simply becomes a longer ring. A *cut* computes one tensor completely before
anything behind it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.program import Program, RowRead

# By tensor and row: which tensors must have how many rows before it is computed.
_Demands = Mapping[int, Sequence[Sequence[tuple[int, int]]]]


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """Gives the live range of each row of one tensor: the step that writes it, and the last step that reads it."""

    made: IntArray
    wanted: IntArray

    @property
    def depth_rows(self) -> int:
        """Count the slots of the smallest ring in which no row is overwritten before its last reader."""
        alive = np.searchsorted(self.made, self.wanted, side="right") - np.arange(len(self.made))
        return int(alive.max())


def needed_rows(read: RowRead, row: int, input_rows: int) -> range:
    """Find the input rows that one pointer makes necessary for output row `row`."""
    if read.is_linear:
        return range(input_rows)
    return range(read.rows[row], read.rows[row] + 1) if 0 <= read.rows[row] < input_rows else range(0)


def demand_order(program: Program, cuts: Sequence[int]) -> tuple[int, ...]:
    """List stage indices, one for each row, such that every row is computed before it is read.

    `Program.arrival` numbers stand for the next row of an input, `Program.commit` numbers, at the end, for setting a
    state to its source.
    """
    producer = {stage.output: i for i, stage in enumerate(program.stages)}
    producer |= {tensor: program.arrival(i) for i, tensor in enumerate(program.inputs)}
    demands = _row_demands(program)
    done = dict.fromkeys(program.rows, 0)
    done |= {state.tensor: program.rows[state.tensor].count for state in program.states}
    order: list[int] = []

    def produce(tensor: int, count: int) -> None:
        """Have the first `count` rows of `tensor` computed, or arrived. A thousand operators may follow one another."""
        pending = [(tensor, count)]
        while pending:
            tensor, count = pending[-1]
            row = done[tensor]
            if row >= count:
                pending.pop()
                continue
            for demand in demands[tensor][row]:
                if done[demand[0]] < demand[1]:
                    pending.append(demand)
                    break
            else:
                order.append(producer[tensor])
                done[tensor] = row + 1

    sources = (state.source for state in program.states)
    for tensor in (*sorted(cuts, key=lambda t: producer[t]), *program.outputs, *sources):
        produce(tensor, program.rows[tensor].count)
    return (*order, *(program.commit(i) for i in range(len(program.states))))


@lru_cache(maxsize=4)
def _row_demands(program: Program) -> _Demands:
    demands: dict[int, Sequence[Sequence[tuple[int, int]]]] = {t: [()] * program.rows[t].count for t in program.inputs}
    for stage in program.stages:
        columns = []
        count = program.rows[stage.output].count
        for source, read in ((stage.inputs[read.input], read) for read in stage.reads):
            rows = (needed_rows(read, row, program.rows[source].count) for row in range(count))
            # At least one row, so that every tensor has a place even if only padding of it is ever used.
            least = 0 if source == stage.output else 1
            columns.append([(source, needed[-1] + 1 if needed else least) for needed in rows])
        demands[stage.output] = list(zip(*columns, strict=True))
    return demands


def lifetimes(program: Program, order: Sequence[int]) -> dict[int, Lifetimes]:
    """Derive live ranges for every tensor that the order produces. A row that nobody reads lives in its own step."""
    steps = np.array(order)
    made = {stage.output: np.flatnonzero(steps == index) for index, stage in enumerate(program.stages)}
    made |= {tensor: np.flatnonzero(steps == program.arrival(i)) for i, tensor in enumerate(program.inputs)}
    wanted = {tensor: written.copy() for tensor, written in made.items()}
    for stage in program.stages:
        reading = made[stage.output]
        for read in stage.reads if len(reading) else ():
            source = stage.inputs[read.input]
            if source not in wanted:  # a state, which exists from beginning to end
                continue
            if read.is_linear:
                np.maximum(wanted[source], reading[-1], out=wanted[source])
                continue
            rows = np.array(read.rows[: len(reading)])
            inside = (rows >= 0) & (rows < program.rows[source].count)
            np.maximum.at(wanted[source], rows[inside], reading[inside])
    for position, state in enumerate(program.states):
        wanted[state.source][:] = np.flatnonzero(steps == program.commit(position))
    existing = sorted((tensor for tensor in made if len(made[tensor])), key=lambda tensor: int(made[tensor][0]))
    return {tensor: Lifetimes(made[tensor], wanted[tensor]) for tensor in existing}


def live_bytes(program: Program, lives: Mapping[int, Lifetimes]) -> IntArray:
    """Count the bytes of live rows by step: no placement can do with less working memory than the largest."""
    steps = 1 + max(int(life.wanted.max()) for life in lives.values())
    change = np.zeros(steps + 1, np.int64)
    for tensor, life in lives.items():
        if tensor not in program.kept:
            np.add.at(change, life.made, program.rows[tensor].size_bytes)
            np.add.at(change, life.wanted + 1, -program.rows[tensor].size_bytes)
    return np.cumsum(change)[:steps]
