"""Program -> Plan: every row's place in one arena, under the order in which rows are computed.

Row streaming: a tensor exists only as the few rows that somebody still needs, in a ring buffer (row r lies in slot
r % depth). Everything is exact, because it is read off the one order that will be executed: each row's lifetime, each
ring's depth, and the steps in which a slot holds nothing that is wanted, so that others may use its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from codegen.plan.place import Ring, Span, aligned, make_ring, place_rings
from codegen.plan.schedule import Lifetimes, needed_rows
from codegen.program.program import Program, Stage

Region = Literal["work", "input", "output"]


@dataclass(frozen=True)
class Placement:
    """One activation: a ring of slots of `row_bytes` from `offset_bytes` on.

    Step s is the s-th row computed. In the steps of `slots[k]`, pairs of first and last, slot k holds a row that is
    wanted; in between, others may use its bytes. The input frame exists from step -1.
    """

    tensor: int
    name: str
    region: Region
    offset_bytes: int
    row_bytes: int
    rows: int
    slots: tuple[tuple[Span, ...], ...]

    @property
    def depth_rows(self) -> int:
        return len(self.slots)

    @property
    def first_step(self) -> int:
        return min(spans[0][0] for spans in self.slots)

    @property
    def last_step(self) -> int:
        return max(spans[-1][1] for spans in self.slots)

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * len(self.slots)


@dataclass(frozen=True)
class Plan:
    """Arena with whole frames: [working memory | input frame | output frame]; or with rows that come and go:
    [working memory | `row_input` ring | `row_output` row].

    `schedule[s]` is the stage of which step s computes the next row; len(stages) stands for the arrival of the next
    input row, before which nothing needs it. `step_names` says so in words, by these numbers.
    """

    schedule: tuple[int, ...]
    step_names: tuple[str, ...]
    cuts: tuple[int, ...]  # tensors computed completely before anything behind them
    placements: tuple[Placement, ...]
    row_input: Placement
    row_output: Placement
    working_bytes: int
    arena_bytes: int
    rows_arena_bytes: int
    io_bytes: int
    macs: int

    def placement(self, tensor: int) -> Placement:
        return next(p for p in self.placements if p.tensor == tensor)


def make_plan(program: Program, cuts: tuple[int, ...], order: Sequence[int], lives: Mapping[int, Lifetimes]) -> Plan:
    """Place everything. `check_plan` proves the result; whoever chooses a plan has it proven."""
    rings = {tensor: make_ring(tensor, program.rows[tensor].size_bytes, life) for tensor, life in lives.items()}
    work = [ring for tensor, ring in rings.items() if tensor not in (program.input, program.output)]
    offsets = place_rings(work, len(order))
    working_bytes = aligned(max((offsets[ring.tensor] + ring.size_bytes for ring in work), default=0))
    frame_bytes = {t: program.rows[t].count * program.rows[t].size_bytes for t in (program.input, program.output)}
    output_offset = working_bytes + aligned(frame_bytes[program.input])
    # Whole frames exist from beginning to end; the input survives an inference.
    last = len(order) - 1
    frames = {
        program.input: _frame(program, "input", working_bytes, -1, last),
        program.output: _frame(program, "output", output_offset, lives[program.output].made[0], last),
    }
    row_input = _placement(program, rings[program.input], "input", working_bytes)
    row_output = _placement(program, rings[program.output], "output", working_bytes + aligned(row_input.size_bytes))
    names = [f"{stage.number} {stage.stem.upper()}" for stage in program.stages]
    return Plan(
        tuple(order),
        (*names, "input row"),
        cuts,
        tuple(frames.get(t) or _placement(program, ring, "work", offsets[t]) for t, ring in rings.items()),
        row_input,
        row_output,
        working_bytes,
        aligned(output_offset + frame_bytes[program.output]),
        aligned(row_output.offset_bytes + row_output.size_bytes),
        sum(frame_bytes.values()),
        program.macs,
    )


def _placement(program: Program, ring: Ring, region: Region, offset_bytes: int) -> Placement:
    rows, name = program.rows[ring.tensor], program.names[ring.tensor]
    return Placement(ring.tensor, name, region, offset_bytes, rows.size_bytes, rows.count, ring.slots)


def _frame(program: Program, region: Region, offset_bytes: int, first: int, last: int) -> Placement:
    tensor = program.input if region == "input" else program.output
    rows = program.rows[tensor]
    slots = (((first, last),),) * rows.count
    return Placement(tensor, program.names[tensor], region, offset_bytes, rows.size_bytes, rows.count, slots)


# ---- Proof -----------------------------------------------------------------------------------------------------


def check_plan(program: Program, plan: Plan) -> int:
    """Prove the plan by executing it on tags, with frames and with rows: what is read is always what is meant.

    Returns how many rows were read and compared. Raises AssertionError, since a failure is a defect of the planner and
    never of the model.
    """
    work = {p.tensor: p for p in plan.placements}
    rows = {**work, program.input: plan.row_input, program.output: plan.row_output}
    rows_read = 0
    for where, arena_bytes in ((work, plan.arena_bytes), (rows, plan.rows_arena_bytes)):
        memory = np.full((arena_bytes, 2), -1, np.int32)  # (tensor, row) that last wrote each byte
        source = where[program.input]
        for row in range(source.rows) if source.depth_rows == source.rows else ():
            _slot(memory, source, row)[:] = program.input, row
        done = dict.fromkeys(program.rows, 0)
        for index in plan.schedule:
            stage = program.stages[index] if index < len(program.stages) else None
            tensor = stage.output if stage else program.input
            row = done[tensor]
            done[tensor] += 1
            slot = _slot(memory, where[tensor], row)
            slot[:] = -1  # kernels may write while they still read
            if stage:
                rows_read += _check_reads(program, where, memory, stage, row)
            slot[:] = tensor, row
        assert done[program.output] == program.rows[program.output].count
    return rows_read


def _slot(memory: npt.NDArray[np.int32], place: Placement, row: int) -> npt.NDArray[np.int32]:
    start = place.offset_bytes + row % place.depth_rows * place.row_bytes
    assert start + place.row_bytes <= len(memory)
    return memory[start : start + place.row_bytes]


def _check_reads(
    program: Program, where: Mapping[int, Placement], memory: npt.NDArray[np.int32], stage: Stage, row: int
) -> int:
    """How many rows the kernel reads for its output row `row`."""
    rows_read = 0
    for read in stage.reads:
        held = where[stage.inputs[read.input]]
        assert not read.is_linear or held.depth_rows == held.rows
        for needed in needed_rows(read, row, held.rows):
            expected = (held.tensor, needed)
            found = _slot(memory, held, needed)
            assert (found == expected).all(), f"{stage.label} row {row} reads {expected}, overwritten"
            rows_read += 1
    return rows_read
