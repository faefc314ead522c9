"""Let sums grow while rows come, in place of windows that have to exist whole.

A mean over a map, a pool of a window of many rows or a fully connected layer behind a convolution reads all rows of its
input. Its sums need one row at a time: a row of running sums is made from the one before. The map never exists.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.program.program import Program, Stage

MAX_TRIED = 8


def could_run(program: Program) -> tuple[Stage, ...]:
    """Find the stages that `with_running` can change, those first whose inputs are largest."""
    sizes = {tensor: rows.count * rows.size_bytes for tensor, rows in program.rows.items()}
    found = [stage for stage in program.stages if stage.running and stage.inputs[0] not in program.kept]
    return tuple(sorted(found, key=lambda stage: (-sizes[stage.inputs[0]], stage.output))[:MAX_TRIED])


def with_running(program: Program, stage: Stage) -> Program:
    """Rewrite the program so that running sums take the place of `stage` (from `could_run`)."""
    running, tensor = stage.running, 1 + max(program.rows)
    assert running is not None
    add = replace(running.add, inputs=(stage.inputs[0], tensor), output=tensor)
    finish = replace(running.finish, inputs=(tensor,), output=stage.output)
    at = next(i for i, other in enumerate(program.stages) if other is stage)
    return replace(
        program,
        stages=(*program.stages[:at], add, finish, *program.stages[at + 1 :]),
        rows={**program.rows, tensor: running.rows},
        storage={**program.storage, tensor: running.storage},
        names={**program.names, tensor: f"{program.names[stage.output]} (so far)"},
    )
