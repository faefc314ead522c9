"""Program -> Plan: where every activation lives, and when.

The schedule here is the layer schedule: one operator after another, each producing its whole output. Buffers get
offsets by liveness: tensors that are alive at the same time never share bytes, all others may. One exception saves
half of the memory: an operator may write over its dying input as long as the output stays far enough ahead of what
is still to be read (`Stage.overlay_lead_bytes`). Input and output frames have regions of their own, so that the
input survives an inference.

Offsets come from greedy placement (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
arXiv 2001.03288) in several orders, of which the best is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from codegen.program import Program, Stage

ALIGNMENT_BYTES = 16

Region = Literal["work", "input", "output"]


@dataclass(frozen=True)
class Placement:
    """One activation: bytes [offset_bytes, offset_bytes + size_bytes) of the arena in steps first..last.

    Step s is the s-th operator; the input frame exists from step -1.
    """

    tensor: int
    name: str
    region: Region
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Plan:
    """The layer schedule's memory: [working memory | input frame | output frame]."""

    placements: tuple[Placement, ...]
    working_bytes: int
    arena_bytes: int
    io_bytes: int
    macs: int

    def placement(self, tensor: int) -> Placement:
        return next(p for p in self.placements if p.tensor == tensor)


@dataclass(frozen=True)
class _Buffer:
    """Bytes with one lifetime. `tensors` are its names: an activation and whatever RESHAPE calls it."""

    tensors: tuple[int, ...]
    size_bytes: int
    first_step: int
    last_step: int


# (output buffer, input buffer) -> lead in bytes
_Overlays = Mapping[tuple[_Buffer, _Buffer], int]


def plan_program(program: Program) -> Plan:
    """Assign offsets. The result is checked by `check_plan` before anybody uses it."""
    buffers = _buffers(program)
    owner = {tensor: buffer for buffer in buffers for tensor in buffer.tensors}
    source, sink = owner[program.input], owner[program.output]
    working = [buffer for buffer in buffers if buffer not in (source, sink)]
    offsets = _best_placement(working, _overlays(program, owner))
    working_bytes = _aligned(_peak(offsets))
    offsets[source] = working_bytes
    offsets[sink] = working_bytes + _aligned(source.size_bytes)
    regions: dict[_Buffer, Region] = {source: "input", sink: "output"}
    placements = tuple(
        Placement(
            tensor,
            program.names[tensor],
            regions.get(buffer, "work"),
            offsets[buffer],
            program.size_bytes[tensor],
            buffer.first_step,
            buffer.last_step,
        )
        for buffer in sorted(buffers, key=lambda b: (b.first_step, b.last_step))
        for tensor in buffer.tensors
    )
    io_bytes = source.size_bytes + sink.size_bytes
    plan = Plan(placements, working_bytes, _aligned(_peak(offsets)), io_bytes, program.macs)
    check_plan(program, plan)
    return plan


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _peak(offsets: Mapping[_Buffer, int]) -> int:
    return max((offset + buffer.size_bytes for buffer, offset in offsets.items()), default=0)


def _is_alias(program: Program, stage: Stage) -> bool:
    """RESHAPE is another name for its input's bytes; between the two frames it has to be a copy."""
    return stage.kernel is None and program.input not in stage.inputs and stage.output != program.output


def _buffers(program: Program) -> list[_Buffer]:
    """Group tensors that are the same bytes, with first and last step at which these must be intact."""
    last_step = len(program.stages) - 1
    names: dict[int, list[int]] = {program.input: [program.input]}  # by first tensor of the group
    root = {program.input: program.input}
    spans = {program.input: (-1, last_step)}
    for step, stage in enumerate(program.stages):
        for tensor in stage.inputs:
            spans[root[tensor]] = (spans[root[tensor]][0], max(spans[root[tensor]][1], step))
        root[stage.output] = root[stage.inputs[0]] if _is_alias(program, stage) else stage.output
        names.setdefault(root[stage.output], []).append(stage.output)
        spans.setdefault(root[stage.output], (step, step))
    spans[program.output] = (spans[program.output][0], last_step)
    return [_Buffer(tuple(names[r]), program.size_bytes[r], *spans[r]) for r in names]


def _overlays(program: Program, owner: Mapping[int, _Buffer]) -> _Overlays:
    """Which outputs may be written over which dying inputs."""
    return {
        (owner[stage.output], owner[stage.inputs[0]]): stage.overlay_lead_bytes
        for step, stage in enumerate(program.stages)
        if stage.overlay_lead_bytes is not None and owner[stage.inputs[0]].last_step == step
    }


def _best_placement(buffers: list[_Buffer], overlays: _Overlays) -> dict[_Buffer, int]:
    orders = (
        sorted(buffers, key=lambda b: (-b.size_bytes, b.first_step)),
        sorted(buffers, key=lambda b: (-b.size_bytes, -b.first_step)),
        sorted(buffers, key=lambda b: b.first_step),
        sorted(buffers, key=lambda b: -b.first_step),
        sorted(buffers, key=lambda b: (b.first_step - b.last_step, -b.size_bytes)),
    )
    return min((_place(order, overlays) for order in orders), key=_peak)


def _place(order: Iterable[_Buffer], overlays: _Overlays) -> dict[_Buffer, int]:
    """Each buffer at the lowest offset that no buffer placed before forbids."""
    offsets: dict[_Buffer, int] = {}
    for buffer in order:
        forbidden = sorted(_forbidden(buffer, other, offset, overlays) for other, offset in offsets.items())
        offset = 0
        for low, high in forbidden:
            if low < offset < high:
                offset = _aligned(high)
        offsets[buffer] = offset
    return offsets


def _forbidden(buffer: _Buffer, other: _Buffer, offset: int, overlays: _Overlays) -> tuple[int, int]:
    """Open interval of offsets that `buffer` must not take, given `other` at `offset`."""
    if other.first_step > buffer.last_step or buffer.first_step > other.last_step:
        return (offset, offset)
    low, high = offset - buffer.size_bytes, offset + other.size_bytes
    if (buffer, other) in overlays:  # buffer is written over other
        low = max(low, offset - overlays[buffer, other])
    if (other, buffer) in overlays:  # other is written over buffer
        high = min(high, offset + overlays[other, buffer])
    return (low, max(low, high))


def check_plan(program: Program, plan: Plan) -> None:
    """Prove the plan by replaying it: no byte that is still to be read is ever overwritten.

    Raises AssertionError, since a failure is a defect of the planner and never of the model.
    """
    where = {p.tensor: p for p in plan.placements}
    final_read = {i: step for step, stage in enumerate(program.stages) for i in stage.inputs}
    final_read |= {program.input: len(program.stages), program.output: len(program.stages)}
    holders: dict[int, Placement] = {program.input: where[program.input]}  # tensors whose bytes are still wanted
    for step, stage in enumerate(program.stages):
        out = where[stage.output]
        assert 0 <= out.offset_bytes <= plan.arena_bytes - out.size_bytes
        for tensor, held in holders.items():
            apart = held.offset_bytes + held.size_bytes <= out.offset_bytes
            apart |= out.offset_bytes + out.size_bytes <= held.offset_bytes
            alias = _is_alias(program, stage) and held.offset_bytes == out.offset_bytes
            ahead = held.offset_bytes - out.offset_bytes
            consumed = stage.inputs[0] == tensor and final_read[tensor] == step
            overlaid = consumed and stage.overlay_lead_bytes is not None and ahead >= stage.overlay_lead_bytes
            assert apart or alias or overlaid, f"{stage.label} overwrites tensor {tensor} '{held.name}'"
        holders[stage.output] = out
        holders = {tensor: held for tensor, held in holders.items() if final_read.get(tensor, step) > step}
