"""Prove that two cores compute, in every interleaving that their waits allow, what one computes by the schedule.

Two steps conflict where they touch the same byte and one of them writes it. If of any two conflicting steps on
different cores the later one, by the schedule, begins only when the earlier one is done, then each interleaving can be
turned into the schedule by exchanging steps that do not conflict, so that it computes the same; and the schedule is
what `codegen.proof.memory` executes on tags. No wait is for a step that comes later in the schedule, so the schedule
itself is one of these interleavings: no two cores wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.plan.plan import Placement, Plan
from codegen.plan.schedule import needed_rows
from codegen.program.program import Program


@dataclass(frozen=True)
class CoresProof:
    """Says what was found: `accesses` of rows, of which `conflicts` touch what the other core touched before."""

    steps: tuple[int, int]
    waits: int
    accesses: int
    conflicts: int
    failures: tuple[str, ...]


class _Bytes:
    """Remembers, for each byte of the arena, how many steps each core had begun when it last wrote or read it."""

    def __init__(self, arena_bytes: int) -> None:
        self.written = np.zeros((2, arena_bytes), np.int64)
        self.read = np.zeros((2, arena_bytes), np.int64)
        self.accesses = self.conflicts = 0

    def touch(self, core: int, begun: int, start: int, size_bytes: int, *, writes: bool) -> int:
        """Note an access; return how many of its steps the other core has to have done before it."""
        part = slice(start, start + size_bytes)
        before = int(self.written[1 - core, part].max(initial=0))
        if writes:
            before = max(before, int(self.read[1 - core, part].max(initial=0)))
        (self.written if writes else self.read)[core, part] = begun
        self.accesses += 1
        self.conflicts += before > 0
        return before


def prove_cores(program: Program, plan: Plan) -> CoresProof:
    """Check every access of a plan for two cores, with whole frames and with rows that come and go."""
    failures = _check_waits(program, plan)
    accesses = conflicts = 0
    for places, arena_bytes in plan.ways(program) if not failures else ():
        found = _check_accesses(program, plan, places, arena_bytes, failures)
        accesses, conflicts = accesses + found.accesses, conflicts + found.conflicts
    steps = plan.cores.count(0), plan.cores.count(1)
    return CoresProof(steps, sum(wait > 0 for wait in plan.waits), accesses, conflicts, tuple(failures))


def _check_waits(program: Program, plan: Plan) -> list[str]:
    """Check that each wait is for what comes before it in the schedule, and that the first core has all callbacks."""
    if not len(plan.cores) == len(plan.waits) == len(plan.schedule) or not set(plan.cores) <= {0, 1}:
        return ["cores: not every step is one core's"]
    begun, failures = [0, 0], []
    for step, (index, core, wait) in enumerate(zip(plan.schedule, plan.cores, plan.waits, strict=True)):
        if not 0 <= wait <= begun[1 - core]:
            failures.append(f"cores: step {step} waits for {wait} steps, of which {begun[1 - core]} come before it")
        stage = program.stage_at(index)
        if core and (stage is None or (program.passes_rows and stage.output == program.output)):
            failures.append(f"cores: step {step} calls back, or changes state, on the second core")
        begun[core] += 1
    return failures


def _check_accesses(
    program: Program, plan: Plan, places: Mapping[int, Placement], arena_bytes: int, failures: list[str]
) -> _Bytes:
    memory = _Bytes(arena_bytes)
    begun, known = [0, 0], [0, 0]
    made = dict.fromkeys(program.rows, 0)
    for step, (index, core, wait) in enumerate(zip(plan.schedule, plan.cores, plan.waits, strict=True)):
        begun[core] += 1
        known[core] = max(known[core], wait)
        for place, row, writes in _rows(program, places, index, made):
            start = place.offset_bytes + row % place.depth_rows * place.row_bytes
            before = memory.touch(core, begun[core], start, place.row_bytes, writes=writes)
            if before > known[core]:
                what = "writes" if writes else "reads"
                of = f"row {row} of tensor {place.tensor}"
                failures.append(f"cores: step {step} {what} {of} beside step {before} of the other core")
    return memory


def _rows(
    program: Program, places: Mapping[int, Placement], index: int, made: dict[int, int]
) -> list[tuple[Placement, int, bool]]:
    """List what a step touches: place, row, whether it writes."""
    if state := program.state_at(index):
        source, kept = places[state.source], places[state.tensor]
        return [*((source, row, False) for row in range(source.rows)), *((kept, row, True) for row in range(kept.rows))]
    stage, place = program.stage_at(index), places[program.tensor_at(index)]
    row = made[place.tensor]
    made[place.tensor] += 1
    if stage is None and place.depth_rows == place.rows:
        return []  # a whole frame, there from the beginning
    rows = [(place, row, True)]
    for read in stage.reads if stage else ():
        source = places[stage.inputs[read.input]] if stage else place
        rows += [(source, needed, False) for needed in needed_rows(read, row, source.rows)]
    return rows
