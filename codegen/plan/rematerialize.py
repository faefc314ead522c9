"""Compute a skip connection's rows a second time instead of keeping them.

In a U-shaped network the decoder reads, late, what the encoder wrote early; in between it fills most of the memory.
Here everything that leads from the input to such a tensor gets a twin, and the late readers read the twin, which is
computed row by row just before they need it. That costs time and hardly any memory. Patch-based inference makes the
same bargain: Lin et al., "MCUNetV2", arXiv 2110.15352.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from codegen.program.program import Program, Stage

MAX_FORKS = 8


def forks(program: Program) -> tuple[int, ...]:
    """Find tensors that several stages read, largest first: what may be worth computing again."""
    sizes = {t: program.rows[t].count * program.rows[t].size_bytes for t in program.rows}
    readers = {t: [s for s in program.stages if t in s.inputs and t != s.output] for t in program.rows}
    found = [t for t in program.rows if len(readers[t]) > 1 and t not in program.kept]
    return tuple(sorted(found, key=lambda t: (-sizes[t], t))[:MAX_FORKS])


def recompute(program: Program, tensors: Iterable[int]) -> Program:
    """Rewrite the program so that all but the first reader of each of `tensors` (from `forks`) read a twin of it.

    Twins share kernels and tables with their originals, so flash grows by little more than a call for each.
    """
    wanted = set(tensors)
    again = _leading_to(program, wanted)
    fresh = iter(range(1 + max(program.rows), 1 + max(program.rows) + len(again)))
    twin = {stage.output: next(fresh) for stage in again}
    seen: set[int] = set()
    stages: list[Stage] = []
    for stage in program.stages:
        late = wanted & seen & set(stage.inputs)
        if late and not any(other.is_again for other in stages):
            stages += [replace(s, inputs=_renamed(s, twin), output=twin[s.output], is_again=True) for s in again]
        stages.append(replace(stage, inputs=tuple(twin[t] if t in late else t for t in stage.inputs)))
        seen |= set(stage.inputs)
    return replace(
        program,
        stages=tuple(stages),
        rows={**program.rows, **{new: program.rows[old] for old, new in twin.items()}},
        storage={**program.storage, **{new: program.storage[old] for old, new in twin.items()}},
        names={**program.names, **{new: f"{program.names[old]} (again)" for old, new in twin.items()}},
    )


def _leading_to(program: Program, tensors: set[int]) -> list[Stage]:
    """List all stages on the way from the input to `tensors`, in order."""
    needed, found = set(tensors), []
    for stage in reversed(program.stages):
        if stage.output in needed:
            needed |= set(stage.inputs)
            found.append(stage)
    return found[::-1]


def _renamed(stage: Stage, twin: dict[int, int]) -> tuple[int, ...]:
    return tuple(twin.get(tensor, tensor) for tensor in stage.inputs)
