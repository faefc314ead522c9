"""Prove that a plan's rings never overwrite a row that is still to be read, by executing the schedule on tags.

Every byte of the arena holds the tag of the row that last wrote it. Each step of the schedule first reads the rows that
its kernel reads, and every byte of them must carry the tag that is meant; then it writes its own. This is done twice,
with whole frames and with rows that come and go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.plan.plan import Placement, Plan
from codegen.plan.schedule import needed_rows
from codegen.program.program import Program, Stage, State

_NOTHING = -1  # tag of a byte that holds no row
_Memory = npt.NDArray[np.int64]  # a tag for each byte of the arena


@dataclass(frozen=True)
class MemoryProof:
    """Says what the execution found: `steps` of the schedule, in which `rows_read` rows were as meant.

    At `peak_step` most bytes are wanted at once; `peak_tensors` are what they hold.
    """

    steps: int
    rows_read: int
    working_bytes: int
    peak_bytes: int
    peak_step: int
    peak_stage: str
    peak_tensors: tuple[int, ...]
    failures: tuple[str, ...]


class _OverwrittenError(Exception):
    """A row does not hold what is to be read, or lies outside the arena."""


def prove_memory(program: Program, plan: Plan) -> MemoryProof:
    """Execute `plan` on tags, and find the step at which most bytes are in use."""
    failures = []
    try:
        rows_read = _execute_both_ways(program, plan)
    except _OverwrittenError as error:
        rows_read = 0
        failures.append(f"plan: {error}")
    live = np.zeros(len(plan.schedule), np.int64)
    rings = [place for place in plan.placements if place.region == "work"]
    for ring in rings:
        for first, last in (span for slot in ring.slots for span in slot):
            live[first : last + 1] += ring.row_bytes
    step = int(live.argmax())
    held = {r.tensor: [span for slot in r.slots for span in slot] for r in rings}
    tensors = tuple(t for t, spans in held.items() if any(first <= step <= last for first, last in spans))
    peak = int(live.max())
    if peak > plan.working_bytes:
        failures.append(f"plan: {peak} bytes are wanted at step {step}, there are {plan.working_bytes}")
    stage = plan.step_names[plan.schedule[step]]
    return MemoryProof(len(plan.schedule), rows_read, plan.working_bytes, peak, step, stage, tensors, tuple(failures))


def _execute_both_ways(program: Program, plan: Plan) -> int:
    """Count the rows that are read. Raises _OverwrittenError at the first that is not what was meant."""
    return sum(_execute(program, plan, places, arena_bytes) for places, arena_bytes in plan.ways(program))


def _execute(program: Program, plan: Plan, places: Mapping[int, Placement], arena_bytes: int) -> int:
    memory = np.full(arena_bytes, _NOTHING, np.int64)
    for tensor in (*program.inputs, *(state.tensor for state in program.states)):
        place = places[tensor]
        for row in range(place.rows) if place.depth_rows == place.rows else ():
            _slot(memory, place, row)[:] = _tag(tensor, row)
    done, rows_read = dict.fromkeys(program.rows, 0), 0
    for index in plan.schedule:
        if state := program.state_at(index):
            rows_read += _check_commit(memory, places, state)
            continue
        stage, tensor = program.stage_at(index), program.tensor_at(index)
        row = done[tensor]
        done[tensor] += 1
        slot = _slot(memory, places[tensor], row)
        slot[:] = _NOTHING  # kernels may write while they still read
        if stage:
            rows_read += _check_reads(memory, places, stage, row)
        slot[:] = _tag(tensor, row)
    for tensor in program.outputs:
        if done[tensor] != program.rows[tensor].count:
            raise _OverwrittenError(f"{done[tensor]} rows of output tensor {tensor} are computed")
    return rows_read


def _check_commit(memory: _Memory, places: Mapping[int, Placement], state: State) -> int:
    """Set a state to its source, all of whose rows must still be there, and count them."""
    source, place = places[state.source], places[state.tensor]
    if not source.depth_rows == source.rows == place.rows:
        raise _OverwrittenError(f"state {place.tensor} takes tensor {source.tensor}, which is not kept whole")
    for row in range(source.rows):
        if not (_slot(memory, source, row) == _tag(source.tensor, row)).all():
            raise _OverwrittenError(f"state {place.tensor} takes row {row} of tensor {source.tensor}, overwritten")
        _slot(memory, place, row)[:] = _NOTHING
    return source.rows


def _check_reads(memory: _Memory, places: Mapping[int, Placement], stage: Stage, row: int) -> int:
    """Check the rows that the kernel reads for its output row `row`, and count them."""
    rows_read = 0
    for read in stage.reads:
        held = places[stage.inputs[read.input]]
        if read.is_linear and held.depth_rows != held.rows:
            raise _OverwrittenError(
                f"tensor {held.tensor} is read as a whole, and {held.depth_rows} rows of it are kept"
            )
        for needed in needed_rows(read, row, held.rows):
            if not (_slot(memory, held, needed) == _tag(held.tensor, needed)).all():
                raise _OverwrittenError(
                    f"{stage.label} row {row} reads row {needed} of tensor {held.tensor}, overwritten"
                )
            rows_read += 1
    return rows_read


def _tag(tensor: int, row: int) -> int:
    return tensor << 32 | row


def _slot(memory: _Memory, place: Placement, row: int) -> _Memory:
    start = place.offset_bytes + row % place.depth_rows * place.row_bytes
    if start < 0 or start + place.row_bytes > len(memory):
        raise _OverwrittenError(f"tensor {place.tensor} leaves the arena")
    return memory[start : start + place.row_bytes]
