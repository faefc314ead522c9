"""Plan the arena: a place for every row, under the order in which rows are computed.

Row streaming: a tensor exists only as the few rows that somebody still needs, in a ring buffer (row r lies in slot
r % depth). Everything is exact, because it is read off the one order that will be executed: each row's lifetime, each
ring's depth, and the steps in which a slot holds nothing that is wanted, so that others may use its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from codegen.plan.place import Ring, Span, aligned, make_ring, place_rings
from codegen.plan.schedule import Lifetimes
from codegen.program.program import Program

Region = Literal["work", "input", "output", "state"]


@dataclass(frozen=True)
class Placement:
    """Places one activation: a ring of slots of `row_bytes` from `offset_bytes` on.

    Step s is the s-th row computed. In the steps of `slots[k]`, pairs of first and last, slot k holds a row that is
    wanted; in between, others may use its bytes. Input frames and states exist from step -1. `position` is that among
    the model's inputs, outputs or states.
    """

    tensor: int
    name: str
    region: Region
    offset_bytes: int
    row_bytes: int
    rows: int
    slots: tuple[tuple[Span, ...], ...]
    position: int = 0

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
    """Orders all rows and places all activations.

    The arena with whole frames is [states | working memory | input frames | output frames]; with rows that come and go,
    where the model has one input and one output, [states | working memory | `row_input` ring | `row_output` ring].

    `schedule[s]` is the stage of which step s computes the next row, or a number of `Program.arrival` or
    `Program.commit`. `step_names` says so in words, by these numbers.

    On two cores, each computes its own steps in this order: `cores[s]` is the core of step s, which may begin when the
    other core has done the first `waits[s]` of its own. Both are empty for one core.
    """

    schedule: tuple[int, ...]
    step_names: tuple[str, ...]
    cuts: tuple[int, ...]  # tensors computed completely before anything behind them
    placements: tuple[Placement, ...]
    row_input: Placement | None
    row_output: Placement | None
    state_bytes: int
    working_bytes: int
    arena_bytes: int
    rows_arena_bytes: int  # arena_bytes where rows cannot pass
    io_bytes: int
    macs: int
    cores: tuple[int, ...] = ()
    waits: tuple[int, ...] = ()

    def placement(self, tensor: int) -> Placement:
        return next(p for p in self.placements if p.tensor == tensor)

    def ways(self, program: Program) -> tuple[tuple[Mapping[int, Placement], int], ...]:
        """Give each tensor's place and the arena's size in each way of running: whole frames, passing rows."""
        frames = {place.tensor: place for place in self.placements}
        if self.row_input is None or self.row_output is None:
            return ((frames, self.arena_bytes),)
        rows = {**frames, program.input: self.row_input, program.output: self.row_output}
        return (frames, self.arena_bytes), (rows, self.rows_arena_bytes)

    def at(self, region: Region) -> tuple[Placement, ...]:
        """Return the placements of one region, by position."""
        return tuple(sorted((p for p in self.placements if p.region == region), key=lambda p: p.position))


def make_plan(program: Program, cuts: tuple[int, ...], order: Sequence[int], lives: Mapping[int, Lifetimes]) -> Plan:
    """Place every ring for one order of rows. `codegen.proof` proves the result."""
    rings = {tensor: make_ring(tensor, program.rows[tensor].size_bytes, life) for tensor, life in lives.items()}
    work = [ring for tensor, ring in rings.items() if tensor not in program.kept]
    offsets = place_rings(work, len(order))
    last = len(order) - 1
    states, state_bytes = _whole(program, "state", [state.tensor for state in program.states], 0, last)
    end = state_bytes + aligned(max((offsets[ring.tensor] + ring.size_bytes for ring in work), default=0))
    # Whole frames exist from beginning to end; the input survives an inference.
    inputs, inputs_end = _whole(program, "input", program.inputs, end, last)
    outputs, arena_bytes = _whole(program, "output", program.outputs, inputs_end, last, lives)
    row_input, row_output, rows_arena_bytes = None, None, arena_bytes
    if program.passes_rows:
        row_input = _placement(program, rings[program.input], "input", end)
        row_output = _placement(program, rings[program.output], "output", end + aligned(row_input.size_bytes))
        rows_arena_bytes = aligned(row_output.offset_bytes + row_output.size_bytes)
    names = [f"{stage.number} {stage.stem.upper()}" for stage in program.stages]
    names += ["input row" if len(program.inputs) == 1 else f"row of input {i}" for i in range(len(program.inputs))]
    names += [f"state {i}" for i in range(len(program.states))]
    whole = {place.tensor: place for place in (*states, *inputs, *outputs)}
    placed = [whole.get(t) or _placement(program, r, "work", state_bytes + offsets[t]) for t, r in rings.items()]
    return Plan(
        tuple(order),
        tuple(names),
        cuts,
        (*placed, *(place for tensor, place in whole.items() if tensor not in rings)),
        row_input,
        row_output,
        state_bytes,
        end - state_bytes,
        arena_bytes,
        rows_arena_bytes,
        sum(place.size_bytes for place in (*inputs, *outputs)),
        program.macs,
    )


def _placement(program: Program, ring: Ring, region: Region, offset_bytes: int) -> Placement:
    rows, name = program.rows[ring.tensor], program.names[ring.tensor]
    return Placement(ring.tensor, name, region, offset_bytes, rows.size_bytes, rows.count, ring.slots)


def _whole(
    program: Program,
    region: Region,
    tensors: Sequence[int],
    offset_bytes: int,
    last_step: int,
    lives: Mapping[int, Lifetimes] | None = None,
) -> tuple[list[Placement], int]:
    """Place tensors that exist whole, one behind the other; they exist since step -1, or since they are made."""
    places = []
    for position, tensor in enumerate(tensors):
        rows, first = program.rows[tensor], int(lives[tensor].made[0]) if lives else -1
        slots = (((first, last_step),),) * rows.count
        name = program.names[tensor]
        places.append(Placement(tensor, name, region, offset_bytes, rows.size_bytes, rows.count, slots, position))
        offset_bytes += aligned(rows.count * rows.size_bytes)
    return places, offset_bytes
