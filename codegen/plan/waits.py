"""Find what each core has to wait for: the other core's last step before it on any byte that it reads or writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from codegen.plan.plan import Placement, Plan
from codegen.plan.schedule import needed_rows
from codegen.program.program import Program

_Bytes = slice


def find_waits(program: Program, plan: Plan) -> tuple[int, ...]:
    """Count, for each step, how many of its own steps the other core has to have done; 0 where an earlier wait does.

    A step waits for the one that writes what it reads, and for those that still read or write what it overwrites.
    """
    needed = np.zeros(len(plan.schedule), np.int64)
    for places, arena_bytes in plan.ways(program):
        np.maximum(needed, _needed(program, plan, places, arena_bytes), out=needed)
    waits, known = [], [0, 0]
    for core, count in zip(plan.cores, needed.tolist(), strict=True):
        waits.append(count if count > known[core] else 0)
        known[core] = max(known[core], count)
    return tuple(waits)


def _needed(
    program: Program, plan: Plan, places: Mapping[int, Placement], arena_bytes: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    # By core and byte: how many steps it has done when it has last written, or read, that byte; 0 for never.
    written, read = np.zeros((2, arena_bytes), np.int64), np.zeros((2, arena_bytes), np.int64)
    done, needed = [0, 0], np.zeros(len(plan.schedule), np.int64)
    for step, (reads, writes) in enumerate(_touched(program, plan, places)):
        core, other = plan.cores[step], 1 - plan.cores[step]
        done[core] += 1
        found = [written[other][part] for part in (*reads, *writes)] + [read[other][part] for part in writes]
        needed[step] = max((int(part.max()) for part in found), default=0)
        for part in reads:
            read[core][part] = done[core]
        for part in writes:
            written[core][part] = done[core]
    return needed


def _touched(
    program: Program, plan: Plan, places: Mapping[int, Placement]
) -> Iterator[tuple[list[_Bytes], list[_Bytes]]]:
    """Yield, for each step, the parts of the arena that it reads and that it writes."""
    made = dict.fromkeys(program.rows, 0)
    for index in plan.schedule:
        if state := program.state_at(index):
            yield [_whole(places[state.source])], [_whole(places[state.tensor])]
            continue
        stage, place = program.stage_at(index), places[program.tensor_at(index)]
        row = made[place.tensor]
        made[place.tensor] += 1
        if stage is None:
            # A whole frame is there from the beginning.
            yield [], [] if place.depth_rows == place.rows else [_row(place, row)]
            continue
        reads = []
        for read in stage.reads:
            source = places[stage.inputs[read.input]]
            reads += [_row(source, needed) for needed in needed_rows(read, row, source.rows)]
        yield reads, [_row(place, row)]


def _row(place: Placement, row: int) -> _Bytes:
    start = place.offset_bytes + row % place.depth_rows * place.row_bytes
    return slice(start, start + place.row_bytes)


def _whole(place: Placement) -> _Bytes:
    return slice(place.offset_bytes, place.offset_bytes + place.size_bytes)
