"""Program -> Plan: in which order rows are computed, and where every row lives.

Row streaming: a tensor exists only as the few rows that somebody still needs, in a ring buffer (row r lies in slot
r % depth). The order is demand-driven: to produce an output row, first produce the input rows it needs. That works
for any graph of row-wise operators; a skip connection simply becomes a longer ring. Everything is then exact, because
it is read off the one order that will be executed: each row's lifetime, each ring's depth, and the steps at which a
ring holds nothing that is wanted, so that others may use its bytes.

A *cut* computes one tensor completely before anything behind it starts. In a U-shaped network a cut at the bottleneck
lets the decoder's rings take the encoder's place. Cuts are searched for: the smallest peak wins. Cutting every tensor
would be the layer-by-layer schedule.

Placement is greedy (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288)
in several orders, of which the best is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from codegen.program import Program, RowRead, Stage

ALIGNMENT_BYTES = 16
MAX_CUTS = 2

Region = Literal["work", "input", "output"]


@dataclass(frozen=True)
class Placement:
    """One activation: `depth_rows` slots of `row_bytes` from `offset_bytes` on.

    Step s is the s-th row computed. In the steps of `busy`, pairs of first and last, the bytes hold a row that is
    wanted; in between, others may use them. The input frame exists from step -1.
    """

    tensor: int
    name: str
    region: Region
    offset_bytes: int
    row_bytes: int
    depth_rows: int
    rows: int
    busy: tuple[tuple[int, int], ...]

    @property
    def first_step(self) -> int:
        return self.busy[0][0]

    @property
    def last_step(self) -> int:
        return self.busy[-1][1]

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * self.depth_rows


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


@dataclass(frozen=True, eq=False)
class _Ring:
    """A tensor's rows under one schedule. `busy[s]`: at step s it holds a row that is wanted, or being written."""

    tensor: int
    row_bytes: int
    depth_rows: int
    busy: npt.NDArray[np.bool_]

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * self.depth_rows


@dataclass(frozen=True, eq=False)
class _Candidate:
    cuts: tuple[int, ...]
    schedule: tuple[int, ...]
    rings: tuple[_Ring, ...]
    offsets: Mapping[int, int]
    peak_bytes: int


def plan_program(program: Program, cuts: Sequence[int] | None = None) -> Plan:
    """Schedule and place, with the cuts that save most memory or with these. `check_plan` has passed the result."""
    best = _search_cuts(program) if cuts is None else _evaluate(program, tuple(cuts))
    working_bytes = _aligned(best.peak_bytes)
    rings = {ring.tensor: ring for ring in best.rings}
    frame_bytes = {t: program.rows[t].count * program.rows[t].size_bytes for t in (program.input, program.output)}
    output_offset = working_bytes + _aligned(frame_bytes[program.input])
    last = len(best.schedule) - 1
    # Whole frames exist from beginning to end; the input survives an inference.
    first_output = _intervals(rings[program.output].busy)[0][0]
    frames = {
        program.input: _frame(program, "input", working_bytes, ((-1, last),)),
        program.output: _frame(program, "output", output_offset, ((first_output, last),)),
    }
    row_input = _placement(program, rings[program.input], "input", working_bytes)
    row_output = _placement(program, rings[program.output], "output", working_bytes + _aligned(row_input.size_bytes))
    plan = Plan(
        best.schedule,
        (*(f"{stage.operator_index} {stage.stem.upper()}" for stage in program.stages), "input row"),
        best.cuts,
        tuple(
            frames.get(ring.tensor) or _placement(program, ring, "work", best.offsets[ring.tensor])
            for ring in best.rings
        ),
        row_input,
        row_output,
        working_bytes,
        _aligned(output_offset + frame_bytes[program.output]),
        _aligned(row_output.offset_bytes + row_output.size_bytes),
        sum(frame_bytes.values()),
        program.macs,
    )
    check_plan(program, plan)
    return plan


def _placement(program: Program, ring: _Ring, region: Region, offset_bytes: int) -> Placement:
    rows, name = program.rows[ring.tensor], program.names[ring.tensor]
    busy = _intervals(ring.busy)
    return Placement(ring.tensor, name, region, offset_bytes, rows.size_bytes, ring.depth_rows, rows.count, busy)


def _frame(program: Program, region: Region, offset_bytes: int, busy: tuple[tuple[int, int], ...]) -> Placement:
    tensor = program.input if region == "input" else program.output
    rows = program.rows[tensor]
    return Placement(tensor, program.names[tensor], region, offset_bytes, rows.size_bytes, rows.count, rows.count, busy)


def _intervals(busy: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Runs of true steps as pairs of first and last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], busy, [False]]).astype(np.int8)))
    return tuple((int(first), int(end) - 1) for first, end in edges.reshape(-1, 2))


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


# ---- Schedule --------------------------------------------------------------------------------------------------


def needed_rows(read: RowRead, row: int, input_rows: int) -> range:
    """Input rows that one pointer makes necessary for output row `row`."""
    if read.is_linear:
        return range(input_rows)
    return range(read.rows[row], read.rows[row] + 1) if 0 <= read.rows[row] < input_rows else range(0)


def _schedule(program: Program, cuts: Sequence[int]) -> tuple[int, ...]:
    """Stage indices, one for each row, such that every row is computed before it is read."""
    producer = {stage.output: i for i, stage in enumerate(program.stages)}
    done = dict.fromkeys(program.rows, 0)
    order: list[int] = []

    def produce(tensor: int, count: int) -> None:
        """Have the first `count` rows of `tensor` computed, or arrived."""
        while done[tensor] < count:
            if tensor == program.input:
                order.append(len(program.stages))
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

    for tensor in (*sorted(cuts, key=lambda t: producer[t]), program.output):
        produce(tensor, program.rows[tensor].count)
    return tuple(order)


def _rings(program: Program, schedule: Sequence[int]) -> tuple[_Ring, ...]:
    """Depth and busy steps of every tensor that the schedule produces, or reads."""
    made: dict[int, list[int]] = {}
    wanted: dict[int, list[int]] = {}
    for step, index in enumerate(schedule):
        stage = program.stages[index] if index < len(program.stages) else None
        tensor = stage.output if stage else program.input
        row = len(made.setdefault(tensor, []))
        made[tensor].append(step)
        wanted.setdefault(tensor, []).append(step)
        for source, read in ((stage.inputs[read.input], read) for read in stage.reads) if stage else ():
            for needed in needed_rows(read, row, program.rows[source].count):
                wanted[source][needed] = step
    rings = []
    for tensor, steps in made.items():
        busy = np.zeros(len(schedule), np.bool_)
        for first, last in zip(steps, wanted[tensor], strict=True):
            busy[first : last + 1] = True
        alive = np.searchsorted(steps, wanted[tensor], side="right") - np.arange(len(steps))
        rings.append(_Ring(tensor, program.rows[tensor].size_bytes, int(alive.max()), busy))
    return tuple(rings)


def _search_cuts(program: Program) -> _Candidate:
    """Greedy: add the cut that lowers the peak most, while one does."""
    best = _evaluate(program, ())
    produced = [stage.output for stage in program.stages if stage.output != program.output]
    for _ in range(MAX_CUTS):
        # A cut holds its whole tensor, so one that is not smaller than the peak cannot lower it.
        sizes = {t: program.rows[t].count * program.rows[t].size_bytes for t in produced}
        small = [t for t in produced if sizes[t] < best.peak_bytes and t not in best.cuts]
        found = min((_evaluate(program, (*best.cuts, t)) for t in small), key=lambda c: c.peak_bytes, default=best)
        if found.peak_bytes >= best.peak_bytes:
            break
        best = found
    return best


def _evaluate(program: Program, cuts: tuple[int, ...]) -> _Candidate:
    schedule = _schedule(program, cuts)
    rings = _rings(program, schedule)
    offsets = _best_placement([ring for ring in rings if ring.tensor not in (program.input, program.output)])
    peak = max((offsets[ring.tensor] + ring.size_bytes for ring in rings if ring.tensor in offsets), default=0)
    return _Candidate(cuts, schedule, rings, offsets, peak)


# ---- Placement -------------------------------------------------------------------------------------------------


def _best_placement(rings: Sequence[_Ring]) -> Mapping[int, int]:
    """Tensor -> offset. Rings share bytes where they are never busy at the same step."""
    if not rings:
        return {}
    busy = np.stack([ring.busy for ring in rings]).astype(np.int64)
    meet = (busy @ busy.T) > 0
    duration = busy.sum(1)
    orders = (
        sorted(range(len(rings)), key=lambda i: (-rings[i].size_bytes, i)),
        sorted(range(len(rings)), key=lambda i: (-rings[i].size_bytes, -i)),
        sorted(range(len(rings)), key=lambda i: (-duration[i], -rings[i].size_bytes)),
        sorted(range(len(rings)), key=lambda i: (-duration[i] * rings[i].size_bytes, i)),
        range(len(rings)),
    )
    placed = [_place(rings, meet, order) for order in orders]
    best = min(placed, key=lambda offsets: max(o + r.size_bytes for o, r in zip(offsets, rings, strict=True)))
    return {ring.tensor: offset for ring, offset in zip(rings, best, strict=True)}


def _place(rings: Sequence[_Ring], meet: npt.NDArray[np.bool_], order: Iterable[int]) -> list[int]:
    """Each ring at the lowest offset that is free of all rings placed before and busy at the same time."""
    offsets = [-1] * len(rings)
    for i in order:
        taken = sorted((offsets[j], rings[j].size_bytes) for j in range(len(rings)) if offsets[j] >= 0 and meet[i, j])
        offset = 0
        for start, size_bytes in taken:
            if offset + rings[i].size_bytes <= start:
                break
            offset = max(offset, _aligned(start + size_bytes))
        offsets[i] = offset
    return offsets


# ---- Proof -----------------------------------------------------------------------------------------------------


def check_plan(program: Program, plan: Plan) -> None:
    """Prove the plan by executing it on tags, with frames and with rows: what is read is always what is meant.

    Raises AssertionError, since a failure is a defect of the planner and never of the model.
    """
    work = {p.tensor: p for p in plan.placements}
    rows = {**work, program.input: plan.row_input, program.output: plan.row_output}
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
                _check_reads(program, where, memory, stage, row)
            slot[:] = tensor, row
        assert done[program.output] == program.rows[program.output].count


def _slot(memory: npt.NDArray[np.int32], place: Placement, row: int) -> npt.NDArray[np.int32]:
    start = place.offset_bytes + row % place.depth_rows * place.row_bytes
    assert start + place.row_bytes <= len(memory)
    return memory[start : start + place.row_bytes]


def _check_reads(
    program: Program, where: Mapping[int, Placement], memory: npt.NDArray[np.int32], stage: Stage, row: int
) -> None:
    for read in stage.reads:
        held = where[stage.inputs[read.input]]
        assert not read.is_linear or held.depth_rows == held.rows
        for needed in needed_rows(read, row, held.rows):
            expected = (held.tensor, needed)
            found = _slot(memory, held, needed)
            assert (found == expected).all(), f"{stage.label} row {row} reads {expected}, overwritten"
