"""In which order rows are computed, and what that means for every row: when it is written, and last wanted.

The order is demand-driven: to produce an output row, first produce the input rows it needs. That works for any graph
of row-wise operators; a skip connection simply becomes a longer ring. A *cut* computes one tensor completely before
anything behind it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.program.program import Program, RowRead


@dataclass(frozen=True)
class Lifetimes:
    """Of one tensor's rows, in order: the step that writes each, and the last step that reads it."""

    made: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def depth_rows(self) -> int:
        """Slots of the smallest ring in which no row is overwritten before its last reader: row r in slot r % depth."""
        alive = np.searchsorted(self.made, self.wanted, side="right") - np.arange(len(self.made))
        return int(alive.max())


def needed_rows(read: RowRead, row: int, input_rows: int) -> range:
    """Input rows that one pointer makes necessary for output row `row`."""
    if read.is_linear:
        return range(input_rows)
    return range(read.rows[row], read.rows[row] + 1) if 0 <= read.rows[row] < input_rows else range(0)


def demand_order(program: Program, cuts: Sequence[int]) -> tuple[int, ...]:
    """Stage indices, one for each row, such that every row is computed before it is read.

    `Program.arrival` numbers stand for the next row of an input, `Program.commit` numbers, at the end, for setting a
    state to its source.
    """
    producer = {stage.output: i for i, stage in enumerate(program.stages)}
    arrivals = {tensor: program.arrival(i) for i, tensor in enumerate(program.inputs)}
    done = dict.fromkeys(program.rows, 0)
    done |= {state.tensor: program.rows[state.tensor].count for state in program.states}
    order: list[int] = []

    def produce(tensor: int, count: int) -> None:
        """Have the first `count` rows of `tensor` computed, or arrived."""
        while done[tensor] < count:
            if tensor in arrivals:
                order.append(arrivals[tensor])
                done[tensor] += 1
                continue
            stage = program.stages[producer[tensor]]
            for read in stage.reads:
                source = stage.inputs[read.input]
                rows = needed_rows(read, done[tensor], program.rows[source].count)
                # At least one row, so that every tensor has a place even if only padding of it is ever used.
                produce(source, rows[-1] + 1 if rows else 1)
            order.append(producer[tensor])
            done[tensor] += 1

    sources = (state.source for state in program.states)
    for tensor in (*sorted(cuts, key=lambda t: producer[t]), *program.outputs, *sources):
        produce(tensor, program.rows[tensor].count)
    return (*order, *(program.commit(i) for i in range(len(program.states))))


def lifetimes(program: Program, order: Sequence[int]) -> dict[int, Lifetimes]:
    """By tensor, for every tensor that the order produces. A row that nobody reads lives in its own step."""
    made: dict[int, list[int]] = {}
    wanted: dict[int, list[int]] = {}
    states = {state.tensor for state in program.states}
    for step, index in enumerate(order):
        if index >= program.commit(0):
            source = program.states[index - program.commit(0)].source
            wanted[source] = [step] * len(wanted[source])
            continue
        stage = program.stages[index] if index < len(program.stages) else None
        tensor = stage.output if stage else program.inputs[index - program.arrival(0)]
        row = len(made.setdefault(tensor, []))
        made[tensor].append(step)
        wanted.setdefault(tensor, []).append(step)
        for source, read in ((stage.inputs[read.input], read) for read in stage.reads) if stage else ():
            for needed in needed_rows(read, row, program.rows[source].count) if source not in states else ():
                wanted[source][needed] = step
    return {tensor: Lifetimes(tuple(made[tensor]), tuple(wanted[tensor])) for tensor in made}


def live_bytes(program: Program, lives: dict[int, Lifetimes]) -> npt.NDArray[np.int64]:
    """Bytes of working memory that hold a wanted row, by step: no placement can do with less than the largest."""
    steps = 1 + max(max(life.wanted) for life in lives.values())
    change = np.zeros(steps + 1, np.int64)
    for tensor, life in lives.items():
        if tensor not in program.kept:
            np.add.at(change, np.array(life.made), program.rows[tensor].size_bytes)
            np.add.at(change, np.array(life.wanted) + 1, -program.rows[tensor].size_bytes)
    return np.cumsum(change)[:steps]
